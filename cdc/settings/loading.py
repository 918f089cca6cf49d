"""Settings are read once, told of what is wrong, and listed with where each comes from."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError

from cdc.errors import ConfigError
from cdc.settings.checks import contradictions
from cdc.settings.model import Settings
from cdc.settings.words import redact_dsn

_PREFIXES = ("CDC_", "ZOHO_")
_TEST_PREFIXES = ("CDC_TEST_", "CDC_POSTGRES_BIN")  # read by the tests and by the embedded server, not by the pipeline
_REMOVED = MappingProxyType({"CDC_SWEEP_HOURS": "set CDC_SWEEP_AT to times of day instead"})
"""Settings of earlier versions, and what to do instead."""


def load_settings(**overrides: Any) -> Settings:
    """Read the settings once.

    Args:
        **overrides: values by setting name that win over the environment (command-line options).

    Raises:
        ConfigError: naming the variable and what it takes. It never holds the value.
    """
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise _refusals(error)[0] from None
    for contradiction in contradictions(settings):
        raise contradiction
    return settings


def check_setting(name: str, value: str) -> None:
    """Look at one value alone, before it gets in where it would stop every command.

    Raises:
        ConfigError: if the setting doesn't take it. It never holds the value.
    """
    given: dict[str, Any] = {name.lower(): value}
    try:
        Settings(**given)
    except ValidationError as error:
        for refusal in _refusals(error):
            if refusal.message.startswith(f"{name}: "):
                raise refusal from None


def salvage_settings() -> tuple[Settings, list[ConfigError]]:
    """Read what can be read, for a command that looks into what is wrong.

    Returns:
        The settings, with defaults in place of what is refused; and every refusal and contradiction.
    """
    try:
        settings, refusals = Settings(), []
    except ValidationError as error:
        refusals = _refusals(error)
        refused = {str(e["loc"][0]) for e in error.errors(include_url=False, include_input=False) if e["loc"]}
        settings = Settings(**{name: Settings.model_fields[name].default for name in refused})
    return settings, [*refusals, *contradictions(settings)]


def _refusals(error: ValidationError) -> list[ConfigError]:
    return [
        ConfigError(
            f"{str(each['loc'][0]).upper() if each['loc'] else 'settings'}: "
            + each["msg"].removeprefix("Value error, "),  # that is pydantic's word
            fix="docs/reference/settings.md says what it takes",
        )
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Name CDC_* and ZOHO_* variables that no setting has, each with the nearest name that exists."""
    found: Iterable[str] = environment if environment is not None else {**os.environ, **_dotenv()}
    known = [name.upper() for name in Settings.model_fields]
    warnings = []
    for name in sorted({n.upper() for n in found}):
        if name in known or not name.startswith(_PREFIXES) or name.startswith(_TEST_PREFIXES):
            continue
        if name in _REMOVED:
            warnings.append(f"{name} has no meaning any more: {_REMOVED[name]}")
            continue
        near = difflib.get_close_matches(name, known, n=1)
        warnings.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return warnings


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """List (variable, value, origin) of every setting; secrets and passwords are hidden."""
    environment = {name.upper() for name, value in os.environ.items() if value}
    dotenv = {name.upper() for name, value in _dotenv().items() if value}
    rows = []
    for field in Settings.model_fields:
        name = field.upper()
        if name in environment:
            origin = "environment"
        elif name in dotenv:
            origin = ".env"
        else:
            origin = "default" if field not in settings.model_fields_set else "command line"
        rows.append((name, _shown(getattr(settings, field)), origin))
    return rows


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, SecretStr):
        return redact_dsn(value.get_secret_value())
    return str(value)


def _dotenv() -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(Path(".env")).items()}
