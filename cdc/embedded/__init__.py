"""What stands in for a database and a CRM where none is configured."""
