-- From where on the journal is complete, and replays that can be taken up again.

create table cdc.journal_span (
    id           bigint generated always as identity primary key,
    slot         text        not null,
    system_id    text        not null,              -- LSNs of different clusters say nothing about each other
    timeline     integer     not null,
    after_chunk  bigint      not null,              -- its chunks have greater ids; moves up as old ones are removed
    from_lsn     pg_lsn      not null,              -- every commit at or after it is in the journal
    from_time    timestamptz not null,              -- the same as a commit time
    to_chunk     bigint,                            -- its last chunk; null while the slot is captured
    to_lsn       pg_lsn,                            -- our position when the stream broke off; null as above
    to_time      timestamptz,                       -- commit time of the last captured transaction; null as above
    began_at     timestamptz not null default now(),
    ended_at     timestamptz                        -- when that was noticed
);
create index journal_span_slot on cdc.journal_span (slot, id);
comment on table cdc.journal_span is 'Stretches of WAL of which the journal holds every change; a gap begins a new one.';

create table cdc.replay (
    id            bigint generated always as identity primary key,
    slot          text        not null,
    requested_by  text        not null,             -- database role and client program
    span          bigint      not null,
    from_lsn      pg_lsn      not null,
    to_lsn        pg_lsn      not null,
    feeds         text[]      not null,
    keys          text[],                           -- null: every key
    forced        boolean     not null,
    to_chunk      bigint      not null,             -- the last chunk of the window
    cursor_chunk  bigint      not null,             -- the keys of all chunks up to here are marked
    generation    bigint      not null,             -- of the outbox when it began: what it marks has a greater one
    changes       bigint      not null default 0,   -- read so far
    marked        bigint      not null default 0,   -- keys marked so far
    state         text        not null default 'unfinished' check (state in ('unfinished', 'finished')),
    started_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    finished_at   timestamptz
);
create index replay_slot on cdc.replay (slot, id);
comment on table cdc.replay is 'Replays of the journal: who asked for what, and how far it got.';

-- `cdc explain` looks for everything that was done about one record.
create index zoho_sync_log_record_id on cdc.zoho_sync_log (record_id);

-- What was captured before this table was there counts from its first chunk on; where a gap is on record nobody knows
-- which chunks lie on which side of it, so that only what is captured from now on counts.
insert into cdc.journal_span (slot, system_id, timeline, after_chunk, from_lsn, from_time)
select p.slot, p.system_id, p.timeline,
       coalesce(c.id - 1, l.id, 0),
       coalesce(c.first_lsn + 1, p.open_lsn + 1, p.lsn),
       coalesce(c.first_time + interval '1 microsecond', now())
from cdc.position p
left join lateral (select max(j.id) as id from cdc.journal j where j.slot = p.slot) as l on true
left join lateral (
    select j.id, j.first_lsn, j.first_time
    from cdc.journal j
    where j.slot = p.slot and not exists (select from cdc.gap g where g.slot = p.slot)
    order by j.id
    limit 1
) as c on true;
