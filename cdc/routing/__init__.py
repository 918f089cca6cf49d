"""From a changed row to the keys that may be out of date. No I/O."""
