"""Three ways between the source's view, the ledger and the CRM: what differs, and what may be put right by itself."""
