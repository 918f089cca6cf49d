-- What the breaker counts, what it holds, and what a person let pass.

alter table cdc.outbox
    add column cause         text,                  -- what marked it if no change did: sweep, gap, replay, ...
    add column approved      bigint,                -- the generation that a person let pass the breaker
    add column approved_for  text;                  -- what it was held for then; null: any update

alter table cdc.zoho_sync_log
    add column judged text;                         -- how the breaker counts it: withdrawal, unannounced, announced
create index zoho_sync_log_judged on cdc.zoho_sync_log (sync_type, created_at) where judged is not null;

-- The hour that is under way goes on.
update cdc.zoho_sync_log set judged = 'withdrawal'
where action = 'withdraw' and created_at > now() - interval '1 hour' and status <> 'failed'
  and reason is distinct from 'HELD_BY_BREAKER';
