"""A person sets everything up: in a conversation at a real terminal, and from nothing to a delivery."""

from __future__ import annotations

import re
import signal
import stat
from pathlib import Path

import httpx

from tests.acceptance.processes import Cdc, Crm, simulator, url_of
from tests.acceptance.terminals import ESCAPES, Terminal, at_terminal
from tests.support.postgres import Database


def code_of(crm: Crm) -> str:
    """A code as the API console makes it."""
    return str(httpx.post(f"{crm.url}/_sim/codes", json={}, timeout=10).json()["code"])


def origins(crm: Crm) -> dict[str, str]:
    """The simulator's address in place of Zoho's; not its credentials."""
    return dict.fromkeys(("ZOHO_ACCOUNTS_URL", "ZOHO_API_DOMAIN", "ZOHO_UPLOAD_URL"), crm.url)


def answer(terminal: Terminal, *exchange: tuple[str, str]) -> None:
    """Wait for each question, and type its answer."""
    for words, keys in exchange:
        terminal.asks(words)
        terminal.type(f"{keys}\n")


def env_of(folder: Path) -> dict[str, str]:
    lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_a_conversation_leads_from_nothing_to_a_delivery(cdc: Cdc, source: Database, tmp_path: Path) -> None:
    slot = f"s_{source.name}"
    kept = f"# kept\nCDC_SLOT={slot}\nCDC_ROLLUP_SECONDS=1\nUNKNOWN_TO_US=yes\n"
    (tmp_path / ".env").write_text(kept, encoding="utf-8")
    with simulator(cdc, "--bare") as crm:
        person = cdc.using(origins(crm))
        credentials = crm.environment
        dsn = url_of(source.dsn)
        with at_terminal(person, "init") as terminal:
            answer(
                terminal,
                ("Database URL", "?"),
                ("tab 'Connection string'", "postgresql://nobody@127.0.0.1:1/app"),
                ("can't be reached: Connection refused", dsn),
                ("wal_level is logical", "nowhere"),  # the profile
                ("fix:", "core"),
                ("Run this at the end", "y"),
                ("Zoho client id", credentials["ZOHO_CLIENT_ID"]),
                ("Zoho client secret", "mistyped"),
                ("Zoho data centre", "us"),
                ("How to sign in", "code"),
                ("Code (not shown)", code_of(crm)),
                ("client secret is wrong", ""),  # asked again: the client id is still there
                ("Zoho client secret (not shown) [********]", credentials["ZOHO_CLIENT_SECRET"]),
                ("Zoho data centre (US/EU/IN/AU/CN/JP/CA/SA/UK/AE) [US]", ""),
                ("How to sign in", "code"),
                ("Code (not shown)", code_of(crm)),
                ("Make them at the end", ""),
                ("Channel", ""),
            )
            terminal.asks("Do it")
            assert source.execute("select to_regnamespace('cdc') is null")[0][0], "nothing was changed yet"
            assert (tmp_path / ".env").read_text(encoding="utf-8") == kept
            terminal.type("y\n")
            assert terminal.wait(90) == 0, terminal.read()[-2000:]
            text = ESCAPES.sub("", terminal.read())

        for words in ("Simulated Organisation", "Contacts.External_ID", "cdc backfill --dry-run", "cdc run"):
            assert words in text
        written = env_of(tmp_path)
        for secret in (written["CDC_ENCRYPTION_KEY"], credentials["ZOHO_CLIENT_SECRET"], "1000."):
            assert secret not in text.replace(credentials["ZOHO_CLIENT_ID"], "")
        assert (tmp_path / ".env").read_text(encoding="utf-8").startswith(kept)
        assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
        assert "ZOHO_REFRESH_TOKEN" not in written

        result = person("run", "--until-idle", "--json")
        assert result.code == 0, result.err
        assert len(crm.records("Contacts")) == result.json["contacts"] > 0

        before = (tmp_path / ".env").read_text(encoding="utf-8")
        tokens = source.execute("select refresh_token from cdc.zoho_tokens")
        with at_terminal(person, "init") as terminal:  # once more, with Enter alone: everything is as it should be
            for words in (
                "Database URL", "Profile", "Zoho client id", "Zoho client secret", "Zoho data centre",
                "How to sign in (keep",
            ):  # fmt: skip
                answer(terminal, (words, ""))
            answer(terminal, ("Channel", "email"), ("E-mail address", "ops@example.org"))
            terminal.asks("Mail server URL")
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.wait() == 130
            text = ESCAPES.sub("", terminal.read())
        assert "nothing was changed" in text
        assert "every custom field is in the CRM" in text
        assert not re.search(r"password|s3cr3t", text.split("set now:")[1].splitlines()[0])
        assert (tmp_path / ".env").read_text(encoding="utf-8") == before
        assert source.execute("select refresh_token from cdc.zoho_tokens") == tokens
