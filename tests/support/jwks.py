"""A Supabase project's sign-in: keys, tokens signed with them, and a real HTTP server that publishes the keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PATH = "/auth/v1/.well-known/jwks.json"
USER = "6e6a1b0a-6e6a-4b0a-8b0a-6e6a1b0a6e6a"


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """Write a token by hand: PyJWT itself makes no wrong ones."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def with_mac(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    """Sign as somebody would who takes the public key for a secret; PyJWT itself refuses to do so."""
    signed = unsigned(header, claims).rpartition(".")[0]
    mac = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@dataclass(frozen=True)
class SigningKey:
    """A private key with a name."""

    kid: str
    algorithm: str
    private: Any = field(repr=False)

    @classmethod
    def make(cls, kid: str, algorithm: str = "ES256") -> SigningKey:
        makers = {
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }
        return cls(kid, algorithm, makers[algorithm]())

    @property
    def published(self) -> dict[str, Any]:
        """As it stands in the list."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        public = algorithm.to_jwk(self.private.public_key(), as_dict=True)  # type: ignore[call-overload]
        return {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig", "key_ops": ["verify"]}

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims: dict[str, Any], **headers: Any) -> str:
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.kid, **headers})


@dataclass
class Project:
    """What the server answers, to be changed at will.

    Attributes:
        body: of the list of keys; set by `publish`.
        asked: how often it was asked for.
    """

    url: str
    body: bytes = b'{"keys": []}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: int = 0

    def publish(self, *keys: SigningKey | dict[str, Any]) -> None:
        listed = [key.published if isinstance(key, SigningKey) else key for key in keys]
        self.body = json.dumps({"keys": listed}).encode()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of an administrator's token; None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": f"{self.url}/auth/v1", "aud": "authenticated", "sub": USER, "role": "authenticated",
            "iat": now, "exp": now + 3600, "email": "ada@example.org", "is_anonymous": False, "aal": "aal1",
            "app_metadata": {"provider": "email", "role": "admin"}, "user_metadata": {"first_name": "Ada"}, **changes,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}


@contextmanager
def project() -> Iterator[Project]:
    """Run the server for the length of the block."""
    made = Project("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked += self.path == PATH
            self.send_response(made.status if self.path == PATH else 404)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(made.body)))
            self.end_headers()
            self.wfile.write(made.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
