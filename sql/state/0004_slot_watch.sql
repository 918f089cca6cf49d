-- Who decides on a gap and what it contained; where the ledger lives; how long the slot will last.

alter table cdc.position
    add column state_system_id text,                -- cluster and timeline of the database that holds these tables:
    add column state_timeline  integer,             -- another one means that the ledger may be older than the CRM
    add column publication     text;                -- fingerprint of the publication when it was last found whole

alter table cdc.gap
    add column detail           text    not null default '',     -- positions and names that show the cause
    add column system_id        text,               -- of the server that was found
    add column timeline         integer,
    add column needs_decision   boolean not null default false,  -- capture and delivery wait for a person
    add column decided_at       timestamptz,
    add column ledger_doubtful  boolean not null default false,  -- the CRM may hold more than the ledger says
    add column found            jsonb;              -- by feed: records missing, changed and gone when it was closed

create table cdc.slot_sample (
    slot                 text        not null,
    at                   timestamptz not null default now(),
    end_lsn              pg_lsn      not null,      -- where the server's WAL ended
    safe_wal_bytes       bigint,                    -- WAL that may still be written before the slot is lost
    retained_wal_bytes   bigint,                    -- WAL that the slot keeps on disk
    primary key (slot, at)
);
comment on table cdc.slot_sample is 'The slot every quarter of a minute, for a day: how fast its runway shrinks.';
