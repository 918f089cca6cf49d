"""The organisation: its modules and fields, and its one user."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from sinks.simulator.answers import Json, Refusal
from sinks.simulator.clock import ORG_ZONE_NAME, iso
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.fields import Module
from sinks.simulator.standard import FIRST_PLAN, standard_modules

ORG_ID = "60001234567"

USER: Json = {"id": "5725767000000281001", "name": "Simulated Admin", "email": "admin@simulator.invalid"}


class Ids:
    """Record and metadata ids: numeric strings of 19 digits, never used twice."""

    def __init__(self) -> None:
        self._next: Iterator[int] = itertools.count(5725767000000300001)

    def take(self) -> str:
        """A new id."""
        return str(next(self._next))


class Org:
    """Modules by API name, and the fields in them."""

    def __init__(self, config: SimulatorConfig, ids: Ids) -> None:
        self._config = config
        self._ids = ids
        self.modules: dict[str, Module] = {}
        self.restore()

    def restore(self) -> None:
        """Make modules and fields what they were at the start."""
        self.modules = {module.api_name: module for module in standard_modules()}
        for module in self.modules.values():
            module.id = self._ids.take()
            for one in module.fields.values():
                one.id = self._ids.take()
        if self._config.unique_email:
            self.modules["Contacts"].fields["Email"].unique = True
        if not self._config.bare:
            for name, fields in FIRST_PLAN.items():
                for one in fields:
                    self.modules[name].fields[one.api_name] = replace(one, id=self._ids.take())

    def module(self, api_name: str) -> Module:
        """The module of that name.

        Raises:
            Refusal: `INVALID_MODULE`; names are compared with their case.
        """
        found = self.modules.get(api_name)
        if found is None:
            raise Refusal(
                400, "INVALID_MODULE", "the module name given seems to be invalid", {"resource_path_index": 0}
            )
        return found

    def describe(self) -> Json:
        """The organisation as `GET /org` shows it."""
        return {
            "id": "5725767000000280001",
            "zgid": ORG_ID,
            "company_name": "Simulated Organisation",
            "primary_email": USER["email"],
            "primary_zuid": "60001234568",
            "country_code": "US",
            "currency": "US Dollar",
            "currency_symbol": "$",
            "iso_code": "USD",
            "time_zone": ORG_ZONE_NAME,
            "type": "production",
            "oauth_presence": True,
            "max_per_page": 200,
            "domain_name": "simulator",
            "license_details": {
                "paid": self._config.edition != "free",
                "paid_type": self._config.edition.value,
                "paid_expiry": None,
                "trial_type": None,
                "trial_expiry": None,
                "users_license_purchased": self._config.users,
            },
        }

    @staticmethod
    def describe_user(started: float) -> Json:
        """The one user as `GET /users` shows it."""
        return {
            "id": USER["id"],
            "full_name": USER["name"],
            "first_name": "Simulated",
            "last_name": "Admin",
            "email": USER["email"],
            "zuid": "60001234568",
            "status": "active",
            "confirm": True,
            "locale": "en_US",
            "time_zone": ORG_ZONE_NAME,
            "created_time": iso(started),
            "profile": {"id": "5725767000000026011", "name": "Administrator"},
            "role": {"id": "5725767000000026005", "name": "CEO"},
        }
