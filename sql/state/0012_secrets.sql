-- What is kept secret beside the tokens, and whom a sign-in belongs to.

create table cdc.secret (
    name         text        primary key,           -- ledger: what the ledger's hashes are keyed with
    sealed       text        not null,              -- encrypted, see cdc/state/envelope.py
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now()
);
comment on table cdc.secret is 'Keys of our own, encrypted with CDC_ENCRYPTION_KEY, so that it can be changed without changing them.';

alter table cdc.zoho_tokens
    add column client_id    text,                   -- the OAuth client that the tokens were made for
    add column data_center  text,                   -- where the account lives, of a sign-in by `cdc login zoho`
    add column supersedes   text;                   -- encrypted: the refresh token that this sign-in replaced
