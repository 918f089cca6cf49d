"""Comparing source, ledger and CRM: the scan, the barrier, the fixes, the reports, and when it happens by itself."""
