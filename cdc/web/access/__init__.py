"""Who may see and do what on the dashboard."""

from cdc.web.access.access import Access, check_csrf, csrf_token, require
from cdc.web.access.visitors import Role, Visitor

__all__ = ["Access", "Role", "Visitor", "check_csrf", "csrf_token", "require"]
