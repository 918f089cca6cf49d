"""Placeholder for the settings, written next."""
