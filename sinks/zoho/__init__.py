"""Zoho CRM v8: tokens, calls, limits and the three modules that are kept in step."""
