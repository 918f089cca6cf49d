"""The dashboard: one page that says how things stand, and what a person can do about it."""
