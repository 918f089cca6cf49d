"""The Supabase project, where one is used for more than its database."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from cdc.settings.values import Origin


class SupabaseSettings(BaseSettings):
    """Address and keys of the project."""

    supabase_url: Origin | None = Field(
        default=None,
        description="`https://<ref>.supabase.co`, for the transport `realtime` and for CDC_DASHBOARD_JWT.",
    )
    supabase_jwt_secret: SecretStr | None = Field(
        default=None, min_length=32, description="The project's legacy JWT secret, for `CDC_DASHBOARD_JWT=secret`."
    )
    supabase_service_role_key: SecretStr | None = Field(
        default=None, description="Secret key (`sb_secret_...`) or service_role key, for the transport `realtime`."
    )
    supabase_service_role_key_file: Path | None = Field(
        default=None,
        description="A file with that key instead. It is read anew at each join, and before a token in it runs out.",
    )

    @property
    def has_realtime(self) -> bool:
        """True when Supabase Realtime is configured."""
        has_key = self.supabase_service_role_key is not None or self.supabase_service_role_key_file is not None
        return self.supabase_url is not None and has_key
