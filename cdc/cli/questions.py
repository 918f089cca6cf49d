"""What `cdc init` asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cdc.cli.asking import Question
from sinks.zoho.config import DATA_CENTERS

DATABASE: Final = Question(
    "DATABASE_URL",
    "Database URL",
    "Where the application's tables are: postgresql://user:password@host:5432/database.\n"
    "Supabase: dashboard, Connect, tab 'Connection string'. 'Direct connection' is best, and needs IPv6 or the IPv4\n"
    "add-on; otherwise 'Session pooler'. 'Transaction pooler' (port 6543) can't work. Put your database password\n"
    "where it says [YOUR-PASSWORD], with signs such as @ or / percent-encoded (%40, %2F).",
    is_secret=True,
)
KEY: Final = Question(
    "CDC_ENCRYPTION_KEY",
    "Encryption key of this state",
    "The database holds secrets that were encrypted with a key that isn't set here. It is in the .env file, or the\n"
    "secret store, of the machine that ran before. If it is lost for good, docs/keys.md says what to do.",
    is_secret=True,
)
PROFILE: Final = Question(
    "CDC_PROFILE",
    "Profile",
    "Which tables go where. `core` is the application as it was in October 2025, `2026` as it has been since August\n"
    "2026; or the path of a folder of your own with a feeds.toml (docs/feeds.md).",
)
CLIENT_ID: Final = Question(
    "ZOHO_CLIENT_ID",
    "Zoho client id",
    "https://api-console.zoho.com (of your data centre), Add Client. Of type 'Non-browser' for a machine without a\n"
    "browser, 'Server-based' with the redirect URI http://localhost:53682/, or 'Self client' to paste a code.\n"
    "Enter nothing to go on without Zoho: the simulator stands in for it.",
    may_be_empty=True,
)
CLIENT_SECRET: Final = Question(
    "ZOHO_CLIENT_SECRET", "Zoho client secret", "It stands beside the client id in the API console.", is_secret=True
)
DATA_CENTER: Final = Question(
    "ZOHO_DATA_CENTER",
    "Zoho data centre",
    "Where your organisation lives: the end of the address when you are in Zoho CRM. crm.zoho.com is US, crm.zoho.eu\n"
    "is EU, crm.zohocloud.ca is CA. A client and its tokens work in one data centre only.",
    choices=tuple(DATA_CENTERS),
)
_WAYS: Final = (
    "device: a code is shown here, and you type it in on a phone or another machine. Client type Non-browser.\n"
    "browser: you open an address on this machine, and the browser comes back here. Client type Server-based.\n"
    "code: you make a code in the API console and paste it. Client type Self client.\n"
    "keep: go on with the sign-in that is there."
)


def way_help(ways: Sequence[str]) -> str:
    """Explain those ways to sign in that there are now."""
    return "\n".join(line for line in _WAYS.splitlines() if line.partition(":")[0] in ways)


SQL_HELP: Final = (
    "y runs it once you have agreed to everything, at the end. n ends here, and nothing is changed. s shows it whole;\n"
    "e writes it to cdc-setup.sql, for you or whoever looks after the database to read, edit and run with psql;\n"
    "the conversation then goes on. Nothing of the application's is changed but replica identities, where a table\n"
    "has no other way to say which row was deleted."
)
CHANNEL_HELP: Final = (
    "Where you are told when something needs a person: e-mail, a Slack channel, or a webhook of your own.\n"
    "none: nowhere; `cdc status` still says everything."
)
CHANNELS: Final[dict[str, tuple[Question, ...]]] = {
    "none": (),
    "email": (
        Question("CDC_ALERT_EMAIL", "E-mail address", "Who is told; several are separated by commas."),
        Question(
            "CDC_ALERT_SMTP_URL", "Mail server URL",
            "smtps://user:password@mail.example.org:465, or smtp://... with port 587. It holds a password.",
            is_secret=True,
        ),
    ),
    "slack": (
        Question(
            "CDC_ALERT_SLACK_URL", "Slack webhook URL",
            "Slack: Apps, Incoming Webhooks, Add to a channel. Whoever has the URL can write there.", is_secret=True,
        ),
    ),
    "webhook": (
        Question("CDC_ALERT_WEBHOOK_URL", "Webhook URL", "https://... of your own; a POST for each alert."),
        Question(
            "CDC_ALERT_WEBHOOK_SECRET", "Webhook signing secret",
            "Alerts are signed with it, so that the receiver, which has the same, can tell that they are ours.\n"
            'echo "whsec_$(openssl rand -base64 32)" makes one.',
            is_secret=True,
        ),
    ),
}  # fmt: skip
