"""A local Zoho CRM that is never kinder than the real one."""
