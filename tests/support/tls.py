"""Certificates of our own, for a server that is somebody."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from psycopg.conninfo import make_conninfo

HOST = "db.example.test"
"""Found nowhere: connections to it name the address as well."""


@dataclass(frozen=True)
class Authority:
    """A certificate authority.

    Attributes:
        file: its certificate, for `sslrootcert`.
    """

    ca: trustme.CA
    file: Path

    @classmethod
    def make(cls, folder: Path, name: str = "ca") -> Authority:
        made = cls(trustme.CA(), folder / f"{name}.crt")
        made.ca.cert_pem.write_to_path(str(made.file))
        return made

    def server(self, host: str = HOST, *, expired: bool = False) -> ssl.SSLContext:
        """What a server of this name offers."""
        yesterday = datetime.now(UTC) - timedelta(days=1)
        certificate = self.ca.issue_cert(host, not_after=yesterday if expired else None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    def write_server(self, folder: Path, host: str = HOST) -> tuple[Path, Path]:
        """Write a server's certificate and key, as Postgres wants them."""
        issued = self.ca.issue_cert(host)
        certificate, key = folder / "server.crt", folder / "server.key"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return certificate, key

    def verified(self, dsn: str, host: str = HOST, **more: str) -> str:
        """Give the way to a server whose name and certificate must be right."""
        options = {"sslmode": "verify-full", "sslrootcert": str(self.file), **more}
        return make_conninfo(dsn, host=host, hostaddr="127.0.0.1", **options)
