"""`cdc worker` refuses addresses that carry no session, before it connects anywhere."""

from __future__ import annotations

import base64

import pytest

from cdc.cli.run import worker
from cdc.errors import PreflightError

POOLER = "postgresql://postgres:s3cr3t@db.abcdefgh.supabase.co:6543/postgres"
DIRECT = "postgresql://postgres:s3cr3t@127.0.0.1:1/postgres"


@pytest.mark.parametrize(
    ("source", "state", "named"), [(POOLER, DIRECT, "DATABASE_URL"), (DIRECT, POOLER, "CDC_STATE_DSN")]
)
def test_a_worker_refuses_the_transaction_pooler(
    monkeypatch: pytest.MonkeyPatch, source: str, state: str, named: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", source)
    monkeypatch.setenv("CDC_STATE_DSN", state)
    monkeypatch.setenv("CDC_ENCRYPTION_KEY", base64.b64encode(bytes(range(32))).decode())
    for name in ("ZOHO_CLIENT_ID", "ZOHO_CLIENT_SECRET", "ZOHO_REFRESH_TOKEN"):
        monkeypatch.setenv(name, "x")
    with pytest.raises(PreflightError, match=f"{named} leads to a pooler in transaction mode") as caught:
        worker()
    assert "s3cr3t" not in str(caught.value)
