-- What comparing source, ledger and CRM found, run by run, and which records are put right night after night.

create table cdc.reconcile_run (
    id               bigint generated always as identity primary key,
    slot             text        not null,          -- the pipeline
    kind             text        not null check (kind in ('report', 'fix', 'apply')),
    requested_by     text        not null,
    started_at       timestamptz not null,
    ended_at         timestamptz not null default now(),
    verdict          text        not null check (verdict in ('clean', 'fixed', 'differs', 'held', 'incomplete')),
    complete         boolean     not null,          -- every module was read to its end
    barrier_lsn      pg_lsn,                        -- everything that committed before it was in the outbox; null: unknown
    compared         bigint      not null,
    differing        bigint      not null,
    fixed            bigint      not null,          -- marked to be sent anew
    remaining        bigint      not null,          -- of these, what still differed when it was looked at again
    counts           jsonb       not null,          -- by feed and kind
    crm_counts       jsonb       not null,          -- by feed: records of the module
    credits_before   bigint      not null,          -- left when it began
    credits_planned  bigint      not null,
    credits_used     bigint      not null,
    mapping          text        not null,          -- fingerprint of feeds and views
    held_back        text[]      not null default '{}' -- gates that kept it from putting things right
);
create index reconcile_run_slot on cdc.reconcile_run (slot, id);
comment on table cdc.reconcile_run is 'Comparisons of source, ledger and CRM: counts, and no values.';

create table cdc.reconcile_fix (
    feed        text    not null,
    record_id   text    not null,
    nights      integer not null,                   -- in a row
    last_night  date    not null,
    primary key (feed, record_id)
);
comment on table cdc.reconcile_fix is 'Records that a comparison put right, and how many nights running: somebody may be fighting us.';
