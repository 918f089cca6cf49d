"""From dirty keys to operations and back to a settled outbox."""
