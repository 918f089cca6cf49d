"""Change data capture from a Supabase (Postgres) database to Zoho CRM.

A change is a doorbell; the truth is read when it is sent. `docs/architecture.md` tells the rest.
"""
