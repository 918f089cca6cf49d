-- What the breaker holds is looked for with every status, and is rare among what is parked.

create index outbox_held on cdc.outbox (feed, key) where parked_at is not null and reason = 'HELD_BY_BREAKER';
