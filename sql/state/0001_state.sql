-- The pipeline's memory. Never part of a publication; holds keys, positions and keyed hashes, and no row values.

create table cdc.position (
    slot          text primary key,
    system_id     text        not null,
    timeline      integer     not null,
    lsn           pg_lsn      not null,             -- end of the last transaction that is captured whole
    open_lsn      pg_lsn,                           -- commit LSN of a transaction captured in part, if any
    open_changes  bigint      not null default 0,   -- how many of its row changes are captured
    committed_at  timestamptz,                      -- commit time of the last captured transaction
    captured_at   timestamptz not null default now(),
    swept_at      timestamptz                       -- null: the views have yet to be compared with the ledger
);
comment on table cdc.position is 'How far the WAL is captured. The slot is acknowledged up to here, never beyond.';

create table cdc.gap (
    id           bigint generated always as identity primary key,
    slot         text        not null,
    cause        text        not null,
    from_lsn     pg_lsn      not null,              -- our position when the stream broke off
    to_lsn       pg_lsn,                            -- where the new slot begins
    detected_at  timestamptz not null default now(),
    repaired_at  timestamptz                        -- when a sweep had compared everything
);
comment on table cdc.gap is 'Stretches of WAL that were never read. A sweep finds what changed in them.';

create sequence cdc.generation;

create table cdc.outbox (
    feed            text        not null,
    key             text        not null,
    lane            text        not null check (lane in ('live', 'rollup', 'bulk', 'daily')),
    due_at          timestamptz not null,
    dirty_at        timestamptz not null,            -- commit time of the oldest change that is not delivered
    first_lsn       pg_lsn,                          -- null: marked by a sweep, a replay or a person
    last_lsn        pg_lsn,
    generation      bigint      not null default nextval('cdc.generation'),
    forced          boolean     not null default false, -- send even what the ledger calls equal
    attempts        integer     not null default 0,
    deferred_until  timestamptz,                     -- only slow fields differ: may wait until then
    claimed_by      text,
    claimed_until   timestamptz,
    parked_at       timestamptz,
    reason          text,                            -- why the last attempt failed, a name of sinks.reasons
    detail          text,
    primary key (feed, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create index outbox_due on cdc.outbox (feed, lane, due_at) where parked_at is null;
comment on table cdc.outbox is 'Dirty keys: records of a sink that may be out of date.';

create table cdc.journal (
    id          bigint generated always as identity primary key,
    slot        text        not null,
    first_lsn   pg_lsn      not null,               -- commit LSNs of the first and last transaction in the chunk
    last_lsn    pg_lsn      not null,
    first_time  timestamptz not null,
    last_time   timestamptz not null,
    changes     integer     not null,
    relations   jsonb       not null,               -- [{"table": "public.users", "columns": ["id"]}, ...]
    body        bytea       not null                -- zstd; see cdc/wire/journal.py
);
alter table cdc.journal alter column body set storage external;  -- it is compressed already
create index journal_last_lsn on cdc.journal (slot, last_lsn);
create index journal_last_time on cdc.journal (last_time);
comment on table cdc.journal is 'Which keys changed at which LSN. Keys only.';

create table cdc.ledger (
    feed          text        not null,
    record_id     text        not null,
    key           text        not null,
    parent_id     text,                             -- record id, in the needed feed, that this one hangs on
    crm_id        text,
    state         text        not null check (state in ('sending', 'sent', 'withdrawn')),
    row_hash      bytea,                            -- keyed hash of the whole view row as delivered
    field_hashes  jsonb       not null default '{}',
    lsn           pg_lsn,
    delivered_at  timestamptz,
    primary key (feed, record_id)
) with (fillfactor = 80);
create index ledger_key on cdc.ledger (feed, key);
create index ledger_parent on cdc.ledger (parent_id) where parent_id is not null;
comment on table cdc.ledger is 'What was last delivered, as keyed hashes.';

create table cdc.zoho_tokens (
    id             text        primary key,
    access_token   text,                            -- encrypted, see cdc/state/envelope.py
    refresh_token  text        not null,            -- encrypted
    api_domain     text,
    expires_at     timestamptz,
    minted_at      timestamptz[] not null default '{}', -- of the last ten minutes: Zoho allows ten
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now()
);
comment on table cdc.zoho_tokens is 'Access and refresh tokens, encrypted, one row for each account.';

create table cdc.zoho_sync_log (
    id              uuid        primary key default gen_random_uuid(),
    user_id         text,                           -- the contact's record id
    sync_type       text        not null,           -- the feed
    action          text        not null,
    status          text        not null check (status in ('success', 'failed', 'retrying')),
    record_id       text        not null,
    zoho_record_id  text,
    reason          text,
    error_message   text,                           -- codes and field names, never values
    attempts        integer     not null default 0,
    lsn             pg_lsn,
    latency_ms      integer,                        -- from commit to the CRM's answer
    synced_at       timestamptz,
    created_at      timestamptz not null default now()
);
comment on table cdc.zoho_sync_log is 'Every operation with what became of it: the audit trail.';
create index zoho_sync_log_user_id on cdc.zoho_sync_log (user_id);
create index zoho_sync_log_created_at on cdc.zoho_sync_log (created_at);
create index zoho_sync_log_failed on cdc.zoho_sync_log (created_at) where status <> 'success';

create table cdc.credit_usage (
    bucket   timestamptz not null,                  -- start of a quarter of an hour
    kind     text        not null,
    calls    bigint      not null default 0,
    credits  bigint      not null default 0,
    primary key (bucket, kind)
);
comment on table cdc.credit_usage is 'Credits we spent; the sum over the last 24 hours is what Zoho counts from us.';

create table cdc.control (
    scope         text        primary key,          -- a sink family such as zoho, or a feed
    paused_until  timestamptz not null,             -- infinity: until a person resumes it
    reason        text        not null,
    detail        text        not null default '',
    failures      integer     not null default 0,   -- in a row; sets how long the next pause is
    updated_at    timestamptz not null default now()
);
comment on table cdc.control is 'What delivers nothing for now, and why: set after failures or by a person.';

create table cdc.worker (
    id          text        primary key,
    host        text        not null,
    pid         integer     not null,
    role        text        not null,               -- capture or delivery
    started_at  timestamptz not null default now(),
    seen_at     timestamptz not null default now()
);
comment on table cdc.worker is 'The processes that were seen lately.';
