"""`cdc init --non-interactive`: the same steps, for a script. What is missing is listed, all of it at once."""

from __future__ import annotations

import asyncio

from rich.console import Console

from cdc.cli import preparing
from cdc.cli.answers import Answers
from cdc.cli.signing import SignedIn, proof
from cdc.errors import ConfigError
from cdc.routing.feeds import load_profile
from cdc.runtime.introduction import introduce
from cdc.source.poolers import refuse_transaction_pooler
from cdc.state.envelope import Key

_NEEDED = ("DATABASE_URL", "ZOHO_CLIENT_ID", "ZOHO_CLIENT_SECRET")


def prepare_unattended(answers: Answers, talk: Console) -> None:
    """Check everything, then set it up. No line of `.env` is replaced; a key is added if there is none.

    Raises:
        ConfigError: naming all that is missing, or what isn't as it must be; then nothing was changed.
    """
    lacking = [name for name in _NEEDED if not answers[name]]
    if lacking:
        raise ConfigError(
            f"not set: {', '.join(lacking)}",
            fix="set them in the environment or in .env; ZOHO_REFRESH_TOKEN too, unless somebody has signed in with "
            "`cdc login zoho`",
        )
    if not answers["CDC_ENCRYPTION_KEY"]:
        answers.give("CDC_ENCRYPTION_KEY", Key.new().text())
    settings = answers.settings()
    profile = load_profile(settings.cdc_profile)
    source = preparing.source_of(settings)
    refuse_transaction_pooler(source)
    found = asyncio.run(introduce(source))
    if found.problems:
        raise ConfigError("; ".join(found.problems))
    plan = asyncio.run(preparing.plan_for(settings, profile))
    signed_in = _signed_in(answers)
    fields = asyncio.run(preparing.missing_in_crm(signed_in, profile))
    for line in (*found.lines, f"transport {plan.readiness.transport}", *proof(signed_in, ())):
        talk.print(f"✓ {line}")
    if answers.to_write():
        answers.save()
        talk.print(f"✓ {answers.path}: {', '.join(answers.to_write())}. Keep a copy of the key elsewhere.")
    if not plan.is_empty:
        asyncio.run(preparing.carry_out(settings, plan))
        talk.print("✓ the database is ready")
    if fields:
        for line in asyncio.run(preparing.make_fields(settings, profile)):
            talk.print(f"✓ {line}")


def _signed_in(answers: Answers) -> SignedIn:
    settings = answers.settings()
    existing = asyncio.run(preparing.existing_sign_in(settings))
    if existing is None:
        raise ConfigError(
            "not set: ZOHO_REFRESH_TOKEN, and nobody has signed in",
            fix="set it; or run `cdc setup` and `cdc login zoho`, then this again",
        )
    return asyncio.run(preparing.try_sign_in(settings, existing))
