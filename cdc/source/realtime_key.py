"""The key that Realtime lets us in with.

It is never looked into but for one thing: when a token in it runs out. Keys of the new form (`sb_secret_...`) don't.
Source: Supabase documentation, "Understanding API keys".
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cdc.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RealtimeKey:
    """Where the key comes from: a value, or a file that is read each time it is asked for."""

    value: str | None = field(default=None, repr=False)
    file: Path | None = None

    def read(self) -> str:
        """Give the key as it is now.

        Raises:
            ConfigError: if there is none.
        """
        if self.file is None:
            return self.value or ""
        try:
            key = self.file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"SUPABASE_SERVICE_ROLE_KEY_FILE: {self.file} can't be read: {type(error).__name__}",
                fix="write the key into it, readable for this process",
            ) from None
        if not key:
            raise ConfigError(f"SUPABASE_SERVICE_ROLE_KEY_FILE: {self.file} is empty", fix="write the key into it")
        return key


def expires_at(key: str) -> datetime | None:
    """Tell when a key runs out, if it is a token that does. Nothing is verified: that is the server's business."""
    parts = key.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (binascii.Error, ValueError, TypeError, KeyError, OverflowError, OSError):
        return None
