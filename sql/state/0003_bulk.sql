-- Bulk jobs: what is under way in the CRM as one file of many records. Keys, ids and keyed hashes, and no row values.

create table cdc.bulk_job (
    id            bigint generated always as identity primary key,
    feed          text        not null,
    state         text        not null check (state in ('packing', 'uploaded', 'starting', 'running', 'done', 'failed', 'dropped')),
    columns       text[]      not null default '{}', -- view columns in the file, in their order
    records       integer     not null default 0,    -- in the file
    file_id       text,                              -- of the uploaded file, in the CRM
    crm_job_id    text,                              -- the CRM's id of the job; from then on it is only polled
    starts        integer     not null default 0,    -- how often the CRM was asked to start it; each may have been paid for
    claimed_until timestamptz not null,              -- end of the claims of its keys
    held_by       text        not null,              -- the worker that tends to it
    held_until    timestamptz not null,              -- its lease; another one takes over then
    created       integer,                           -- what became of the records, once they are settled
    updated       integer,
    refused       integer,
    reason        text,                              -- why it failed or was dropped, a name of sinks.reasons
    detail        text        not null default '',
    begun_at      timestamptz not null default now(),
    started_at    timestamptz,                       -- when the CRM took the job
    ended_at      timestamptz
);
create unique index bulk_job_open on cdc.bulk_job (feed) where ended_at is null;
comment on table cdc.bulk_job is 'Bulk jobs, one for each feed at a time. A worker that takes over goes on from the state here.';

create table cdc.bulk_item (
    job_id        bigint      not null references cdc.bulk_job (id) on delete cascade,
    record_id     text        not null,
    key           text        not null,
    action        text        not null check (action in ('create', 'update')), -- as planned; both are upserts of all fields
    uncertain     boolean     not null,
    crm_id        text,
    generation    bigint      not null,              -- of the outbox row when the view was read
    attempts      integer     not null,
    dirty_at      timestamptz not null,
    last_lsn      pg_lsn,
    row_hash      bytea       not null,              -- keyed hash of the view row in the file
    field_hashes  jsonb       not null,              -- keyed hashes of its fields
    primary key (job_id, record_id)
);
comment on table cdc.bulk_item is 'What the file of an open bulk job holds, as keyed hashes; gone when the job has ended.';
