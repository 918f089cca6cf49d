"""This machine: settings, profile, key, versions, disk, HTTP, alerts."""

from __future__ import annotations

import platform
import shutil
import tempfile
from pathlib import Path
from typing import Final

import psycopg

from cdc.errors import CdcError
from cdc.routing.feeds import load_profile
from cdc.runtime.channels import configured_channels
from cdc.runtime.doctor.examination import Examination
from cdc.runtime.doctor.finding import Findings, from_error, ok, problem, skipped, warning
from cdc.runtime.doctor.judgement.words import size
from cdc.runtime.environment import sink_specs
from cdc.state.envelope import Keyring

_LITTLE: Final = 256 << 20
_LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})


async def look_settings(exam: Examination) -> Findings:
    """Whether the settings can be read, and go together."""
    why = "`cdc run` and `cdc setup` refuse to start; the other checks go on with the default in its place"
    found = [from_error(error, why=why) for error in exam.refusals]
    if exam.settings.database_url is None and not found:
        what = "DATABASE_URL is not set: `cdc run` would start a database of its own, with made-up people"
        fix = "export DATABASE_URL=postgresql://user:password@host:5432/database"
        found.append(warning(what, why="nothing of yours is kept in step", fix=fix))
    return found or ok("every setting is as it must be")


async def look_unknown(exam: Examination) -> Findings:
    """Variables that begin as ours and that nothing reads."""
    why = "a misspelt setting has no effect, and the default is in force"
    return [
        warning(words, why=why, fix=f"unset {words.partition(' ')[0]}  # and set what was meant")
        for words in exam.unknown
    ] or ok("every CDC_* and ZOHO_* variable is a setting")


async def look_profile(exam: Examination) -> Findings:
    """Whether feeds.toml can be read, and names sinks that there are."""
    try:
        profile = load_profile(exam.settings.cdc_profile)
        sink_specs(profile)
    except CdcError as error:
        return [from_error(error, why="it says what is kept in step", fix="correct feeds.toml; docs/feeds.md")]
    exam.profile = profile
    return ok(f"{profile.name}: {', '.join(profile.feeds)}")


async def look_key(exam: Examination) -> Findings:
    """Whether the encryption key is there and has the right form."""
    key = exam.settings.cdc_encryption_key
    make = 'export CDC_ENCRYPTION_KEY="$(openssl rand -base64 32)"  # and keep it'
    why = "it protects the Zoho tokens in the database, and keys the ledger's hashes"
    if key is None:
        if exam.settings.database_url is None:
            return skipped("without a database nothing has to be encrypted")
        return [problem("CDC_ENCRYPTION_KEY is not set", why=why, fix=make)]
    try:
        exam.keyring = Keyring.parse(key.get_secret_value())
    except CdcError as error:
        return [problem(error.message, why=why, fix=make)]
    return ok("a key of the right form")


async def look_versions(_: Examination) -> Findings:
    """Versions of Python, psycopg and libpq."""
    libpq = psycopg.pq.version()
    words = f"Python {platform.python_version()}, psycopg {psycopg.__version__}, libpq {libpq // 10_000}"
    if libpq >= 140_000:
        return ok(f"{words}; instants are in UTC whatever the machine's time zone")
    why = "older ones know neither tcp_user_timeout on every system nor the words that we look for"
    return [warning(f"{words} is old", why=why, fix='pip install --upgrade "psycopg[binary]"')]


async def look_disk(_: Examination) -> Findings:
    """Free room where temporary files go, and in the working directory."""
    places = {Path(tempfile.gettempdir()), Path.cwd()}
    free = {place: shutil.disk_usage(place).free for place in sorted(places)}
    return [
        warning(
            f"{size(room)} are free at {place}",
            why="the embedded server and temporary files need room there",
            fix=f"du -xh --max-depth=2 {place} | sort -h | tail",
        )
        for place, room in free.items()
        if room < _LITTLE
    ] or ok(", ".join(f"{size(room)} free at {place}" for place, room in free.items()))


async def look_http(exam: Examination) -> Findings:
    """Whether what listens can be reached by anybody without a secret."""
    s = exam.settings
    if s.cdc_http_port is None:
        return ok("nothing listens: CDC_HTTP_PORT is not set")
    if s.cdc_http_host in _LOCAL:
        page = "asks who comes" if s.has_dashboard_access else "is opened by the link that `cdc run` prints"
        return ok(f"it listens on {s.cdc_http_host}, for this machine only; the dashboard {page}")
    secrets = (s.cdc_webhook_tokens, s.cdc_webhook_signing_secrets, s.cdc_metrics_tokens)
    if any(secrets) or s.has_dashboard_access:
        page = "the dashboard asks who comes" if s.has_dashboard_access else "the dashboard is off"
        return ok(f"it listens on {s.cdc_http_host}; webhooks need a secret, {page}; TLS is the proxy's in front")
    what = f"CDC_HTTP_HOST={s.cdc_http_host} can be reached from elsewhere, and nothing there has a secret"
    why = "`cdc run` refuses to start like this: anybody could ring, or look"
    return [problem(what, why=why, fix='export CDC_DASHBOARD_TOKENS="$(openssl rand -hex 32)"')]


async def look_alerts(exam: Examination) -> Findings:
    """Whether anybody would be told."""
    s = exam.settings
    if names := [channel.name for channel in configured_channels(s)]:
        return ok(f"told by {', '.join(names)}; `cdc alerts test` sends a message through each")
    if s.database_url is None:
        return skipped("without a database there is nobody of yours to be told")
    return [
        warning(
            "nobody is told when something goes wrong: no alert channel is set",
            why="a sync that has stopped is silent; the CRM just gets old",
            fix='export CDC_ALERT_SLACK_URL="https://hooks.slack.com/services/..."'
            "  # or CDC_ALERT_SMTP_URL and CDC_ALERT_EMAIL, or CDC_ALERT_WEBHOOK_URL and _SECRET; docs/alerts.md",
        )
    ]
