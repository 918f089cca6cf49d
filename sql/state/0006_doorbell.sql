-- How the transport without a slot stands. There is no position: what it may have missed is found by comparing.

create table cdc.doorbell (
    pipeline     text primary key,                  -- the name in CDC_SLOT, although there is no slot
    state        text        not null check (state in ('joining', 'live', 'lost', 'stopped')),
    cause        text,                              -- why the channel was last lost, one word
    joined_at    timestamptz,                       -- when the server last said that changes will come
    heard_at     timestamptz,                       -- when our own canary last came back through it
    latency_ms   integer,                           -- from writing the canary to hearing it
    rebuilds     integer     not null default 0,    -- connections that were given up since this process began
    swept_at     timestamptz,                       -- when views and ledger were last compared
    sweep_ms     integer,                           -- how long that took
    updated_at   timestamptz not null default now()
);
comment on table cdc.doorbell is 'Supabase Realtime as a doorbell: whether it is heard, and when everything was last compared.';
