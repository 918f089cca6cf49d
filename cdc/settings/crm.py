"""The CRM: whose it is, where it is, and what it allows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from cdc.settings.values import Origin, lower, upper

DataCenter = Annotated[
    Literal["US", "EU", "IN", "AU", "CN", "JP", "CA", "SA", "UK", "AE"],
    BeforeValidator(upper),
]
Edition = Annotated[Literal["free", "standard", "professional", "enterprise", "ultimate"], BeforeValidator(lower)]


class CrmSettings(BaseSettings):
    """Sign-in, origins, limits, and the switch."""

    zoho_client_id: str | None = Field(default=None, description="Client id. Without it the simulator is started.")
    zoho_client_secret: SecretStr | None = Field(default=None, description="Client secret.")
    zoho_refresh_token: SecretStr | None = Field(
        default=None, description="Refresh token, if it isn't to be the one that `cdc login zoho` stores."
    )
    zoho_data_center: DataCenter = Field(default="US", description="Data centre of the organisation.")
    zoho_api_domain: Origin | None = Field(
        default=None, description="Origin of the CRM API. Default: what the token answer says, else the data centre's."
    )
    zoho_accounts_url: Origin | None = Field(
        default=None, description="Origin of the token endpoint. Default: the data centre's."
    )
    zoho_upload_url: Origin | None = Field(
        default=None, description="Origin for bulk uploads. Default: the data centre's."
    )
    zoho_edition: Edition = Field(default="standard", description="Edition, for the credit and concurrency limits.")
    zoho_users: Annotated[int, Field(ge=1)] = Field(default=1, description="User licences, for the credit limit.")
    zoho_concurrency: Annotated[int, Field(ge=1, le=25)] = Field(
        default=4,
        description="Calls at once from this process. Zoho counts all processes of the organisation together.",
    )
    zoho_sync_enabled: bool = Field(
        default=True, description="`false` stops delivery; capture goes on and nothing is lost."
    )

    @property
    def has_crm(self) -> bool:
        """True when a CRM is configured; False means the simulator."""
        return self.zoho_client_id is not None
