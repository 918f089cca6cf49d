"""Every setting, in one place.

Names are those of the environment variables, in lower case. Nothing else in the program looks at the environment, but
for what systemd says of itself (`runtime.supervision`).
Values come from the environment, then from a `.env` file in the working directory, then from the defaults here.
"""

from cdc.settings.loading import check_setting, describe, load_settings, salvage_settings, unknown_variables
from cdc.settings.model import Settings
from cdc.settings.words import named_secrets_in, redact_dsn, secrets_in, times_of_day, words_in

__all__ = [
    "Settings",
    "check_setting",
    "describe",
    "load_settings",
    "named_secrets_in",
    "redact_dsn",
    "salvage_settings",
    "secrets_in",
    "times_of_day",
    "unknown_variables",
    "words_in",
]
