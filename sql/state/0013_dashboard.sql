-- What the breaker holds is looked for with every status; and failures are counted by their reason.

create index outbox_held on cdc.outbox (feed, key) where parked_at is not null and reason = 'HELD_BY_BREAKER';
drop index cdc.outbox_parked;
create index outbox_parked on cdc.outbox (parked_at desc, feed, key) include (reason) where parked_at is not null;
