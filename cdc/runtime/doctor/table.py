"""The checks, in order. A chain is what `needs` says; the slow ones stand last."""

from __future__ import annotations

from typing import Final

from cdc.runtime.doctor import address, crm, machine, modules, slots, stored, watched
from cdc.runtime.doctor.check import Check

_SOURCE: Final = ("source.reachable",)
_WATCHED: Final = ("source.reachable", "runtime.profile")
_SLOT: Final = ("source.wal-level", "source.role")
_STATE: Final = ("state.migrations",)
_TOKEN: Final = ("crm.token",)
_MODULES: Final = ("crm.token", "runtime.profile")

_MACHINE: Final = (
    Check(id="runtime.settings", looks_at="settings that are wrong, missing or contradict", look=machine.look_settings),
    Check(id="runtime.unknown", looks_at="misspelt CDC_* and ZOHO_* variables", look=machine.look_unknown),
    Check(id="runtime.profile", looks_at="feeds.toml of the profile", look=machine.look_profile),
    Check(id="runtime.key", looks_at="the encryption key", look=machine.look_key),
    Check(id="runtime.versions", looks_at="Python, psycopg and libpq", look=machine.look_versions),
    Check(id="runtime.disk", looks_at="free disk", look=machine.look_disk),
    Check(id="runtime.http", looks_at="who may reach the HTTP server", look=machine.look_http),
    Check(id="runtime.alerts", looks_at="whether anybody is told when something goes wrong", look=machine.look_alerts),
)
_THE_SOURCE: Final = (
    Check(id="source.address", looks_at="host and route: direct, session or transaction pooler; IPv6",
          look=address.look_address),
    Check(id="source.reachable", looks_at="connecting, and why not", look=address.look_reachable,
          needs=("source.address",)),
    Check(id="source.tls", looks_at="whether TLS verifies who answers", look=address.look_tls, needs=_SOURCE),
    Check(id="source.version", looks_at="server version, its traps, standby", look=address.look_version,
          needs=_SOURCE),
    Check(id="source.clock", looks_at="the server's clock", look=address.look_clock, needs=_SOURCE),
    Check(id="source.session", looks_at="timeouts of the role that would cut us off",
          look=address.look_source_session, needs=_SOURCE),
    Check(id="source.schema", looks_at="the right to make schema and views", look=watched.look_schema_right,
          needs=_WATCHED),
    Check(id="source.tables", looks_at="watched tables, key columns, SELECT", look=watched.look_tables,
          needs=_WATCHED),
    Check(id="source.rls", looks_at="row-level security that hides rows; BYPASSRLS",
          look=watched.look_row_security, needs=_WATCHED),
    Check(id="source.identity", looks_at="replica identities", look=watched.look_identity, needs=("source.tables",)),
    Check(id="source.publication", looks_at="exactly the watched tables and columns",
          look=watched.look_publication, needs=("source.tables",)),
    Check(id="source.views", looks_at="views: there, readable, from the profile's text", look=watched.look_views,
          needs=("source.tables",)),
    Check(id="source.realtime", looks_at="what Supabase Realtime needs", look=watched.look_realtime,
          needs=("source.tables",)),
    Check(id="source.wal-level", looks_at="wal_level", look=slots.look_wal_level, needs=_WATCHED),
    Check(id="source.role", looks_at="the attribute REPLICATION", look=slots.look_role, needs=_WATCHED),
    Check(id="source.slots", looks_at="free replication slots and WAL senders", look=slots.look_room_for_slots,
          needs=_SLOT),
    Check(id="source.slot", looks_at="our slot: there, plugin, wal_status", look=slots.look_slot,
          needs=(*_SLOT, "source.slots")),
    Check(id="source.slot-room", looks_at="WAL that it keeps, of max_slot_wal_keep_size; runway",
          look=slots.look_slot_room, needs=("source.slot",)),
    Check(id="source.other-slots", looks_at="other slots that hold WAL", look=slots.look_other_slots, needs=_SOURCE),
    Check(id="source.transactions", looks_at="transactions open for long, and prepared ones",
          look=slots.look_transactions, needs=_SOURCE),
)  # fmt: skip
_THE_STATE: Final = (
    Check(id="state.reachable", looks_at="connecting to the cdc tables", look=stored.look_reachable,
          needs=("source.address",)),
    Check(id="state.session", looks_at="timeouts of the role there", look=address.look_state_session,
          needs=("state.reachable", "source.reachable")),
    Check(id="state.migrations", looks_at="tables of this program's version", look=stored.look_migrations,
          needs=("state.reachable",)),
    Check(id="state.key", looks_at="whether the key opens what is stored", look=stored.look_key,
          needs=("state.migrations", "runtime.key")),
    Check(id="state.footing", looks_at="the same databases as before", look=stored.look_footing,
          needs=("state.migrations", "source.reachable")),
    Check(id="state.capture", looks_at="exactly one capturing process, stand-bys", look=stored.look_capturing,
          needs=_STATE),
    Check(id="state.workers", looks_at="who delivers", look=stored.look_delivering, needs=_STATE),
    Check(id="state.outbox", looks_at="the oldest undelivered change", look=stored.look_outbox, needs=_STATE),
    Check(id="state.parked", looks_at="keys that failed for good", look=stored.look_parked, needs=_STATE),
    Check(id="state.held", looks_at="keys that the breaker holds", look=stored.look_held, needs=_STATE),
    Check(id="state.pauses", looks_at="pauses, and what ends them", look=stored.look_pauses, needs=_STATE),
    Check(id="state.gaps", looks_at="gaps that are open", look=stored.look_gaps, needs=_STATE),
    Check(id="state.journal", looks_at="how far back a replay can go", look=stored.look_journal, needs=_STATE),
    Check(id="state.tables", looks_at="size of the cdc tables, dead rows", look=stored.look_tables, needs=_STATE),
    Check(id="state.housekeeping", looks_at="whether old rows are removed", look=stored.look_housekeeping,
          needs=_STATE),
)  # fmt: skip
_THE_CRM: Final = (
    Check(id="crm.settings", looks_at="client id, client secret, refresh token", look=crm.look_settings),
    Check(id="crm.reachable", looks_at="DNS and TLS of the OAuth server and the API", look=crm.look_reachable,
          needs=("crm.settings",), seconds=40.0),
    Check(id="crm.clock", looks_at="the CRM's clock", look=crm.look_clock, needs=("crm.reachable",)),
    Check(id="crm.data-centre", looks_at="the token's data centre", look=crm.look_data_centre,
          needs=("crm.settings",)),
    Check(id="crm.token", looks_at="an access token: the stored one, or made anew under its lock",
          look=crm.look_token, needs=("crm.reachable", "crm.data-centre", "runtime.key"), seconds=30.0),
    Check(id="crm.organisation", looks_at="edition and licences beside ZOHO_EDITION, ZOHO_USERS (1 credit)",
          look=crm.look_organisation, needs=_MODULES, seconds=40.0),
    Check(id="crm.scopes", looks_at="scopes for reading (1 credit for each module, and 1)", look=crm.look_scopes,
          needs=_MODULES, seconds=60.0),
    Check(id="crm.fields", looks_at="mapped fields: there, type, length, picklist (2 credits for each feed)",
          look=modules.look_fields, needs=_MODULES, seconds=60.0),
    Check(id="crm.external-id", looks_at="fields that hold our identities: unique", look=modules.look_external_ids,
          needs=("crm.fields",), seconds=40.0),
    Check(id="crm.credits", looks_at="credits left, refusals of the last hour", look=crm.look_credits, needs=_TOKEN),
)  # fmt: skip
_SLOW: Final = (
    Check(id="source.transport", looks_at="which transports the address carries", look=address.look_transport,
          needs=_SOURCE, seconds=20.0),
    Check(id="source.sessions", looks_at="whether a pooler shares sessions out", look=address.look_sessions,
          needs=_SOURCE, seconds=60.0),
    Check(id="crm.write-test", looks_at="a contact made and deleted again (2 credits; only with --write-test)",
          look=modules.look_writing, needs=_MODULES, seconds=60.0, on_request=True),
)  # fmt: skip

CHECKS: Final = (*_MACHINE, *_THE_SOURCE, *_THE_STATE, *_THE_CRM, *_SLOW)
"""All of them. What a check needs stands before it."""
