"""The settings of all subjects, together."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from cdc.settings.access import AccessSettings
from cdc.settings.alerts import AlertSettings
from cdc.settings.crm import CrmSettings
from cdc.settings.database import DatabaseSettings
from cdc.settings.pipeline import PipelineSettings
from cdc.settings.supabase import SupabaseSettings
from cdc.settings.web import WebSettings


# Pydantic takes the settings of the last class first; the reference and .env.example are in that order.
class Settings(
    CrmSettings, SupabaseSettings, AlertSettings, AccessSettings, WebSettings, PipelineSettings, DatabaseSettings
):
    """What the program runs with."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )
