"""Settings of all property tests."""

from __future__ import annotations

from hypothesis import settings

# How long one example takes says something about the machine and nothing about the claim.
settings.register_profile("optio-cdc", deadline=None)
settings.load_profile("optio-cdc")
