"""Alerts: what is measured, the bounds, what is said, and how an alert lives. Nothing here does I/O."""
