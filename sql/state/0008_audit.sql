-- Who did what by hand, on the command line or on the dashboard.

create table cdc.audit (
    id       bigint      generated always as identity primary key,
    at       timestamptz not null default now(),
    actor    text        not null check (actor <> ''),   -- cli:<account>@<machine> or web:<name>
    action   text        not null check (action <> ''),  -- dotted words, such as failures.retry
    subject  text        not null default '',            -- what it was done to: feeds, keys, reasons; never values
    count    bigint      not null default 1,             -- how many records or keys it met
    because  text        not null default ''             -- the person's words
);
comment on table cdc.audit is 'What people did by hand: who, what, to how much, and why. Rows are added and, after 400 days, removed; none is changed.';
create index audit_at on cdc.audit (at);

create function cdc.audit_is_kept() returns trigger language plpgsql as $$
begin
    raise exception 'cdc.audit is only added to; rows go after 400 days';
end
$$;
create trigger audit_is_not_changed before update on cdc.audit
    for each row execute function cdc.audit_is_kept();
create trigger audit_is_not_shortened before delete on cdc.audit
    for each row when (old.at > now() - interval '400 days') execute function cdc.audit_is_kept();
