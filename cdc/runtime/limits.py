"""What the CRM account allows, from the settings."""

from __future__ import annotations

from cdc.settings import Settings
from sinks.zoho.limits import daily_credits


def credit_limit(settings: Settings) -> int:
    """Give the API credits of 24 hours."""
    return daily_credits(settings.zoho_edition, settings.zoho_users)
