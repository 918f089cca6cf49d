"""The conversation of `cdc init`: everything is asked and looked up, then agreed to, then done."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from cdc.cli import preparing, questions
from cdc.cli.answers import Answers
from cdc.cli.asking import Asker
from cdc.cli.signing import LIMIT_NOTE, SignedIn, Way, give_back, proof, sign_in
from cdc.cli.start import EXIT_REFUSED
from cdc.errors import CdcError, ConfigError, KeyMissing
from cdc.routing.feeds import Profile, load_profile
from cdc.runtime.environment import configured_account
from cdc.runtime.introduction import introduce
from cdc.runtime.preparation import Plan
from cdc.settings import check_setting, redact_dsn
from cdc.source.poolers import refuse_transaction_pooler
from cdc.state.envelope import Key
from sinks.zoho.limits import EDITIONS
from sinks.zoho.scopes import CREATE_FIELDS, SCOPES

_SCRIPT = Path("cdc-setup.sql")
_ASKED_FOR = (*SCOPES, CREATE_FIELDS)


class Wizard:
    """The conversation.

    Args:
        answers: what is set already.
        talk: the person's terminal.
        port: where a browser comes back to.
    """

    def __init__(self, answers: Answers, talk: Console, port: int) -> None:
        self._answers = answers
        self._talk = talk
        self._asker = Asker(talk)
        self._port = port
        self._profile: Profile | None = None
        self._plan: Plan | None = None
        self._signed_in: SignedIn | None = None
        self._is_new = False
        self._fields: list[str] = []
        self._applying = False

    def run(self) -> int:
        """Hold the conversation; gives the exit code."""
        self._asker.say(
            "This sets optio-cdc up. One question at a time: Enter takes what is in brackets, ? explains, Ctrl-C ends.",
            "Nothing is changed before you have agreed to all of it at the end.",
        )
        self._database()
        self._profile_and_plan()
        if not self._sql():
            self._asker.say("Without it nothing can be followed. Nothing was changed.")
            return EXIT_REFUSED
        self._crm()
        self._crm_fields()
        self._alerts()
        if not self._has_to_do():
            self._asker.say("\nEverything is in place already.")
            return 0
        if not self._agreed():
            self._give_back()
            self._asker.say("Nothing was changed.")
            return EXIT_REFUSED
        self._apply()
        return 0

    def interrupted(self) -> str:
        """Say what an interruption left behind."""
        if self._applying:
            return "\ncdc: stopped while it was being done; `cdc init` once more goes on where this ended"
        self._give_back()
        return "\ncdc: stopped; nothing was changed"

    def _give_back(self) -> None:
        """Revoke a sign-in that won't be kept; Zoho keeps twenty, and the next would end one in use."""
        if self._is_new and self._signed_in is not None:
            asyncio.run(give_back(self._signed_in))

    def _database(self) -> None:
        self._asker.head("Database")
        if not self._answers["CDC_ENCRYPTION_KEY"]:
            self._answers.give("CDC_ENCRYPTION_KEY", Key.new().text())
        default = self._answers["DATABASE_URL"]
        if default:
            self._asker.say(f"set now: {redact_dsn(default)}")
        dsn = self._asker.ask(questions.DATABASE, default, check=self._meet)
        self._answers.give("DATABASE_URL", dsn)
        try:
            asyncio.run(preparing.check_state(self._answers.settings(with_crm=False)))
        except KeyMissing as error:
            self._asker.say(f"✗ {error}")
            key = self._asker.ask(questions.KEY, check=self._try_key)
            self._answers.give("CDC_ENCRYPTION_KEY", key)

    def _meet(self, dsn: str) -> None:
        refuse_transaction_pooler(dsn)
        found = asyncio.run(introduce(dsn))
        self._asker.say(*(f"✓ {line}" for line in found.lines))
        if found.problems:
            raise ConfigError("; ".join(found.problems))

    def _try_key(self, key: str) -> None:
        before = self._answers["CDC_ENCRYPTION_KEY"]
        self._answers.give("CDC_ENCRYPTION_KEY", key)
        try:
            asyncio.run(preparing.check_state(self._answers.settings(with_crm=False)))
        finally:
            self._answers.give("CDC_ENCRYPTION_KEY", before)

    def _profile_and_plan(self) -> None:
        self._asker.head("What is followed")
        name = self._asker.ask(questions.PROFILE, self._answers["CDC_PROFILE"] or "core", check=self._try_profile)
        self._answers.give("CDC_PROFILE", name)

    def _try_profile(self, name: str) -> None:
        self._answers.give("CDC_PROFILE", name)
        profile = load_profile(name)
        self._plan = asyncio.run(preparing.plan_for(self._answers.settings(with_crm=False), profile))
        self._profile = profile
        self._asker.say(
            f"✓ {', '.join(profile.feeds)}: every table and column is there, and none is hidden from us",
            f"✓ transport {self._plan.readiness.transport}: {self._plan.readiness.why}",
            *(f"note: {note}" for note in self._plan.readiness.notes),
        )

    def _sql(self) -> bool:
        """Show what would run in the database; False if the person won't have it."""
        assert self._plan is not None  # noqa: S101 - _profile_and_plan has seen to it
        while not self._plan.is_empty:
            self._asker.head("To be done in the database")
            self._asker.say(*self._in_short(self._plan))
            answer = self._asker.choose("Run this at the end", questions.SQL_HELP, ("y", "n", "e", "s"), "n")
            if answer in {"y", "n"}:
                return answer == "y"
            script = f"{self._plan.state_script()}\n{self._plan.source_script()}"
            if answer == "s":
                self._asker.say(script)
                continue
            _SCRIPT.write_text(script, encoding="utf-8")
            self._asker.say(f"Written to {_SCRIPT}. Run it with psql, ON_ERROR_STOP set, then come back.")
            if not self._asker.confirm("Has it been run", questions.SQL_HELP, default=True):
                return False
            self._try_profile(self._answers["CDC_PROFILE"])
        self._asker.say("✓ publication, slot, views and tables of ours are in place")
        return True

    @staticmethod
    def _in_short(plan: Plan) -> list[str]:
        lines = []
        if plan.migrations:
            lines.append("  schema cdc with our own tables (state, journal, queue); nothing of yours is in it")
        for statement in plan.statements:
            sql = statement.sql.strip()
            shown = sql if sql.count("\n") < 4 else f"{sql.splitlines()[0]} ... ({sql.count(chr(10)) + 1} lines)"
            lines += [f"  -- {statement.why}", *(f"  {line}" for line in shown.splitlines())]
        return lines

    def _crm(self) -> None:
        self._asker.head("Zoho CRM")
        while self._signed_in is None:
            client_id = self._asker.ask(questions.CLIENT_ID, self._answers["ZOHO_CLIENT_ID"])
            if not client_id:
                self._asker.say(
                    "Without Zoho: `cdc run` starts a simulator in its place. Run `cdc init` again for Zoho."
                )
                return
            self._answers.give("ZOHO_CLIENT_ID", client_id)
            secret = self._asker.ask(questions.CLIENT_SECRET, self._answers["ZOHO_CLIENT_SECRET"])
            self._answers.give("ZOHO_CLIENT_SECRET", secret)
            center = self._asker.ask(questions.DATA_CENTER, self._answers["ZOHO_DATA_CENTER"] or "US")
            self._answers.give("ZOHO_DATA_CENTER", center)
            try:
                self._signed_in = self._sign_in()
            except CdcError as error:
                self._asker.say(f"✗ {error}")
        self._take_over(self._signed_in)

    def _sign_in(self) -> SignedIn:
        settings = self._answers.settings()
        existing = asyncio.run(preparing.existing_sign_in(settings))
        ways = ["keep"] * (existing is not None) + [way.value for way in Way]
        way = self._asker.choose("How to sign in", questions.way_help(ways), ways, ways[0])
        if way == "keep" and existing is not None:
            return asyncio.run(preparing.try_sign_in(settings, existing))
        code = ""
        if way == Way.CODE.value:
            self._asker.say("Self Client, Generate Code, with this scope:", ",".join(_ASKED_FOR))
            code = str(typer.prompt("Code (not shown)", hide_input=True, err=True))
        account = configured_account(settings)
        made = asyncio.run(sign_in(account, Way(way), _ASKED_FOR, self._talk, port=self._port, code=code))
        self._is_new = True
        return made

    def _take_over(self, signed_in: SignedIn) -> None:
        asked = _ASKED_FOR if self._is_new else ()
        self._asker.say(*(f"✓ {line}" for line in proof(signed_in, asked)))
        if self._is_new:
            self._asker.say(LIMIT_NOTE)
        self._answers.give("ZOHO_DATA_CENTER", signed_in.zoho.data_center)
        organisation = signed_in.organisation
        if organisation.edition is not None and organisation.edition in EDITIONS:
            self._answers.give("ZOHO_EDITION", organisation.edition)
        if organisation.users is not None:
            self._answers.give("ZOHO_USERS", str(organisation.users))

    def _crm_fields(self) -> None:
        if self._signed_in is None or self._profile is None:
            return
        try:
            lacking = asyncio.run(preparing.missing_in_crm(self._signed_in, self._profile))
        except CdcError as error:
            self._asker.say(f"✗ the CRM's fields can't be read: {error}")
            return
        if not lacking:
            self._asker.say("✓ every custom field is in the CRM")
            return
        self._asker.say("Custom fields that are missing in the CRM:", *(f"  {line}" for line in lacking))
        if self._asker.confirm(
            "Make them at the end",
            "Without them `cdc run` refuses to start. They can be made by hand as well; docs/feeds.md says how each "
            "must be.",
            default=True,
        ):
            self._fields = lacking

    def _alerts(self) -> None:
        self._asker.head("Alerts")
        set_now = next((c for c, asked in questions.CHANNELS.items() if asked and self._answers[asked[0].name]), "none")
        channel = self._asker.choose("Channel", questions.CHANNEL_HELP, tuple(questions.CHANNELS), set_now)
        if channel == "none" != set_now:
            self._asker.say("What is set stays; to do without it, take its lines out of .env.")
        for question in questions.CHANNELS[channel]:
            check = partial(check_setting, question.name)
            self._answers.give(question.name, self._asker.ask(question, self._answers[question.name], check=check))

    def _has_to_do(self) -> bool:
        has_sql = self._plan is not None and not self._plan.is_empty
        return bool(self._answers.to_write() or has_sql or self._is_new or self._fields)

    def _agreed(self) -> bool:
        self._asker.head("All of it")
        lines, replaced = self._answers.to_write(), self._answers.replaced()
        if lines:
            self._asker.say(f"{self._answers.path}, readable by you alone: {', '.join(lines)}")
        if "CDC_ENCRYPTION_KEY" in lines:
            self._asker.say("  CDC_ENCRYPTION_KEY was made for you. Keep a copy elsewhere: stored secrets need it.")
        for name in self._answers.shadowed():
            self._asker.say(f"  note: {name} is set in the environment, which wins over .env; unset it there")
        if self._plan is not None and not self._plan.is_empty:
            self._asker.say("database: the SQL above")
        if self._is_new:
            self._asker.say("sign-in: stored in the database, encrypted")
        if self._fields:
            self._asker.say(f"CRM: {len(self._fields)} custom field(s)")
        text = "y does it; n leaves everything as it is."
        if replaced and not self._asker.confirm(
            f"{self._answers.path} is there already. Replace its {', '.join(replaced)}", text
        ):
            return False
        return self._asker.confirm("Do it", text)

    def _apply(self) -> None:
        assert self._plan is not None and self._profile is not None  # noqa: S101, PT018 - asked before
        self._applying = True
        if self._answers.to_write():
            self._answers.save()
            self._asker.say(f"✓ {self._answers.path} written")
        settings = self._answers.settings()
        if not self._plan.is_empty:
            asyncio.run(preparing.carry_out(settings, self._plan))
            self._asker.say("✓ the database is ready")
        if self._signed_in is not None and self._is_new:
            asyncio.run(preparing.keep_sign_in(settings, self._signed_in))
            self._asker.say("✓ the sign-in is stored")
        if self._fields:
            made = asyncio.run(preparing.make_fields(settings, self._profile))
            self._asker.say(*(f"✓ {line}" for line in made))
