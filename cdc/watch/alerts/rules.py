"""All rules, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cdc.watch.alerts.capture_rules import CAPTURE_RULES
from cdc.watch.alerts.delivery_rules import DELIVERY_RULES
from cdc.watch.alerts.rule import Rule

RULES: Final[Mapping[str, Rule]] = MappingProxyType({rule.name: rule for rule in (*CAPTURE_RULES, *DELIVERY_RULES)})
"""In the order in which they are told: causes before what follows from them."""
