"""The cdc schema: outbox, journal, ledger, position, tokens, credits."""
