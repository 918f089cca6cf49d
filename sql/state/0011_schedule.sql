-- What a person says while it runs (pauses, the log level), and which scheduled jobs ran.

create table cdc.pause (
    scope         text        primary key,          -- *, a feed, or "bulk lane"
    paused_until  timestamptz not null,             -- infinity: until somebody resumes it
    actor         text        not null,
    because       text        not null default '',
    paused_at     timestamptz not null default now()
);
comment on table cdc.pause is 'What delivers nothing because a person said so. Nothing but a person or its time ends it.';

insert into cdc.pause (scope, paused_until, actor, because, paused_at)
select scope, paused_until, 'unknown', detail, updated_at from cdc.control where reason = 'BY_HAND';
delete from cdc.control where reason = 'BY_HAND';
comment on table cdc.control is 'What delivers nothing for now, and why: set after failures, for a broken feed, or for a gap.';

create table cdc.log_level (
    one     boolean     primary key default true check (one),
    level   text        not null check (level in ('debug', 'info', 'warning', 'error')),
    until   timestamptz not null,                   -- infinity: until somebody sets another one
    actor   text        not null,
    set_at  timestamptz not null default now()
);
comment on table cdc.log_level is 'The level that all processes log at now; without a row each logs at its own.';

create table cdc.job_run (
    id            bigint generated always as identity primary key,
    name          text        not null,
    due_at        timestamptz not null,             -- the moment of the plan that it ran for
    actor         text        not null,             -- the process
    started_at    timestamptz not null,
    leased_until  timestamptz not null,             -- renewed while it runs; afterwards it counts as dead
    ended_at      timestamptz,
    outcome       text        check (outcome in ('done', 'failed', 'died', 'stopped', 'skipped')),
    detail        jsonb       not null default '{}', -- counts and codes, never values
    check ((ended_at is null) = (outcome is null))
);
create unique index job_run_under_way on cdc.job_run (name) where ended_at is null;
create index job_run_due on cdc.job_run (name, due_at);
comment on table cdc.job_run is 'Scheduled jobs: who ran which, for which moment of its plan, and how it ended.';
