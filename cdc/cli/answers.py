"""What `cdc init` knows: what is set already, and what a person has said since."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from cdc.cli.envfile import changed, write
from cdc.errors import ConfigError
from cdc.settings import Settings, load_settings

_CRM = ("zoho_client_id", "zoho_client_secret", "zoho_refresh_token")


class Answers:
    """Values by setting name. Of what is set already the environment wins over `.env`, as everywhere.

    Args:
        path: of the `.env` file, which needn't be there.
        environment: the process's.
    """

    def __init__(self, path: Path, environment: Mapping[str, str] | None = None) -> None:
        self.path = path
        variables = os.environ if environment is None else environment
        self._environment = {name.upper(): value for name, value in variables.items() if value}
        self._file = {name.upper(): value for name, value in dotenv_values(path).items() if value}
        self._given: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """Give what would be in force; empty if nothing is."""
        return self._given.get(name) or self._environment.get(name) or self._file.get(name, "")

    def give(self, name: str, value: str) -> None:
        """Take an answer."""
        self._given[name] = value

    def settings(self, *, with_crm: bool = True) -> Settings:
        """Give the settings as they would be with these answers.

        Args:
            with_crm: False leaves the CRM's sign-in out, for as long as nobody has been asked for it.

        Raises:
            ConfigError: if they contradict each other.
        """
        said: dict[str, str | None] = {name.lower(): value for name, value in self._given.items() if value}
        known = {name: value for name, value in said.items() if name in Settings.model_fields}
        return load_settings(**known | ({} if with_crm else dict.fromkeys(_CRM)))

    def to_write(self) -> dict[str, str]:
        """Give the lines that `.env` doesn't have so yet. What the environment says already is left to it."""
        return {
            name: value
            for name, value in self._given.items()
            if value != self._file.get(name, "") and value != self._environment.get(name)
        }

    def replaced(self) -> list[str]:
        """Name the lines of `.env` whose value would be another."""
        return sorted(name for name in self.to_write() if name in self._file)

    def shadowed(self) -> list[str]:
        """Name the answers that the environment contradicts, which wins."""
        return sorted(name for name in self.to_write() if name in self._environment)

    def save(self) -> None:
        """Write what is to be written, and keep every other line.

        Raises:
            ConfigError: if the file can't be read or written.
        """
        try:
            before = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            before = ""
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"{self.path} can't be read", fix="check its rights, and that it is text") from None
        write(self.path, changed(before, self.to_write()))
