"""What `cdc doctor` looks at, in one table; each check names what is wrong, why it matters and what mends it."""
