"""The bytes of logical replication: framing, pgoutput messages, packed keys. No I/O."""
