-- How calls went, what the CRM says is left, and alerts: what is open, who was told, what couldn't be told.

create table cdc.call_usage (
    bucket        timestamptz not null,             -- start of a minute
    kind          text        not null,
    outcome       text        not null,             -- a name of sinks.calls.Outcome
    band          smallint    not null,             -- how long the calls took, see cdc/state/calls.py; -1 for files
    calls         bigint      not null default 0,
    milliseconds  bigint      not null default 0,   -- together
    primary key (bucket, kind, outcome, band)
);
comment on table cdc.call_usage is 'What became of the calls to the CRM, by minute, for two days.';

create table cdc.credit_reading (
    account    text        primary key,             -- as in cdc.zoho_tokens
    remaining  bigint      not null,                -- credits that the CRM said are left
    read_at    timestamptz not null
);
comment on table cdc.credit_reading is 'The CRM''s own count, which it tells once half of the credits are used.';

create table cdc.alert_turn (
    pipeline     text        primary key,
    holder       text        not null,              -- the process that evaluates
    held_until   timestamptz not null,              -- its lease; another one takes over then
    evaluated_at timestamptz                        -- when it last did
);
comment on table cdc.alert_turn is 'Which process evaluates the alerts of a pipeline.';

create table cdc.alert_rule (
    pipeline      text        not null,
    name          text        not null,
    verdict       text        not null default 'unknown'
                  check (verdict in ('fine', 'pending', 'open', 'hushed', 'unknown')),
    value         double precision,                 -- null: it couldn't be evaluated, or nothing was to be measured
    words         text        not null default '',  -- why it is unknown or hushed
    since         jsonb       not null default '{}', -- severity → since when the value has been beyond its bound
    evaluated_at  timestamptz,
    muted_until   timestamptz,
    muted_by      text,
    primary key (pipeline, name)
);
comment on table cdc.alert_rule is 'What each alert''s rule last came to.';

create table cdc.alert (
    id               bigint generated always as identity primary key,
    pipeline         text        not null,
    name             text        not null,
    severity         text        not null check (severity in ('info', 'warning', 'critical')),
    value            double precision,
    detail           text        not null default '', -- names of feeds and reasons; no values of rows
    opened_at        timestamptz not null,
    resolved_at      timestamptz,                   -- null: it is so still
    told             text,                          -- the severity that people were last told of
    notified_at      timestamptz,                   -- when they were last told anything
    critical_at      timestamptz,                   -- when they were last told that it is critical
    acked_at         timestamptz,
    acked_by         text,
    closed_at        timestamptz                    -- resolved, and that was told, or nobody had been told
);
create unique index alert_live on cdc.alert (pipeline, name) where closed_at is null;
create index alert_opened_at on cdc.alert (opened_at);
comment on table cdc.alert is 'Alerts: each time that one was open, and what was told of it.';

create table cdc.alert_notice (
    id         bigint generated always as identity primary key,
    pipeline   text        not null,
    message    text        not null,                -- id of the message, the same on every channel
    channel    text        not null,
    subject    text        not null,                -- kinds and names of the alerts in it
    sent       boolean     not null,
    attempts   integer     not null,
    error      text,                                -- in a word or two; never an address or a secret
    at         timestamptz not null default now()
);
create index alert_notice_at on cdc.alert_notice (at);
comment on table cdc.alert_notice is 'Every delivery of a message about alerts, and those that failed.';
