"""Placeholder for the log set-up, written next."""
