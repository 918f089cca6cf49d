-- What is counted again and again for the status stays an index-only scan, however much there is.

create index ledger_sent on cdc.ledger (feed) where state = 'sent';
drop index cdc.zoho_sync_log_created_at;
create index zoho_sync_log_created_at on cdc.zoho_sync_log (created_at) include (status, latency_ms);
create index outbox_parked on cdc.outbox (parked_at desc, feed, key) where parked_at is not null;
