"""Kinds of call. Price, scope, concurrency, faults and the call log all go by kind."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a call asks for."""

    TOKEN = "token"  # noqa: S105  # a kind of call, no secret
    REVOKE = "revoke"
    DEVICE = "device"
    DEVICE_TOKEN = "device_token"  # noqa: S105
    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"
    GET = "get"
    LIST = "list"
    DELETED = "deleted"
    SEARCH = "search"
    COUNT = "count"
    RELATED = "related"
    COQL = "coql"
    MODULES = "modules"
    FIELDS = "fields"
    CREATE_FIELDS = "create_fields"
    ORG = "org"
    USERS = "users"
    UPLOAD = "upload"
    BULK_WRITE = "bulk_write"
    BULK_STATUS = "bulk_status"
    BULK_RESULT = "bulk_result"
