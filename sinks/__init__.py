"""The outside systems that are kept in step. Nothing here imports `cdc`."""
