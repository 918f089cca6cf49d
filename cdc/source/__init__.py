"""The source Postgres: preflight, set-up, slots, and the two transports that read them."""
