"""Encryption of single values at rest.

An envelope is text: `v1.<key id>.<nonce>.<ciphertext>`, the last two in base64url without padding. The cipher is
AES-256-GCM. The place a value belongs to (table, row, column) is bound in as associated data, so an envelope that is
copied to another row or column doesn't open there. The key id says exactly which key is missing after a rotation; it
is derived from the key one-way and tells nothing of it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cdc.errors import ConfigError, KeyMissing, StateError

_VERSION = "v1"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_FIX = 'make one with `openssl rand -base64 32`, and keep it: export CDC_ENCRYPTION_KEY="..."'


@dataclass(frozen=True, slots=True)
class Place:
    """Where an encrypted value is kept."""

    table: str
    row: str
    column: str


@dataclass(frozen=True, slots=True)
class Key:
    """A secret of 32 bytes."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != _KEY_BYTES:
            raise ConfigError(f"CDC_ENCRYPTION_KEY: {_KEY_BYTES} bytes expected, {len(self.secret)} found", fix=_FIX)

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read a key from 64 hex digits or from base64, either alphabet, padded or not.

        Raises:
            ConfigError: for anything else. It doesn't hold the text.
        """
        text = text.strip()
        try:
            if len(text) == 2 * _KEY_BYTES:  # as base64 this length would be 48 bytes
                return cls(bytes.fromhex(text))
            padded = text.replace("-", "+").replace("_", "/").rstrip("=")
            return cls(base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True))
        except (binascii.Error, ValueError):
            raise ConfigError("CDC_ENCRYPTION_KEY: neither base64 nor 64 hex digits", fix=_FIX) from None

    @classmethod
    def new(cls) -> Key:
        """Make a key from the system's random numbers."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    def text(self) -> str:
        """Write the key as `parse` reads it. It is the secret itself."""
        return base64.b64encode(self.secret).decode()

    @property
    def id(self) -> str:
        """Eight hex digits that name the key."""
        return self.derive("key id")[:4].hex()

    def derive(self, purpose: str) -> bytes:
        """Make 32 bytes for another purpose (HKDF-SHA256), from which this key can't be found."""
        return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=f"cdc {purpose}".encode()).derive(
            self.secret
        )


class Keyring:
    """The keys in use: the first encrypts, all decrypt.

    To rotate, put a new key in front, and keep the old one behind it until `cdc keys rotate` has written everything
    anew.

    Args:
        keys: at least one.
    """

    def __init__(self, keys: tuple[Key, ...]) -> None:
        if not keys:
            raise ConfigError("CDC_ENCRYPTION_KEY is empty", fix=_FIX)
        self._keys = keys
        self._by_id = {key.id: key for key in keys}

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """Read one key, or several separated by commas.

        Raises:
            ConfigError: if one of them isn't a key.
        """
        return cls(tuple(Key.parse(part) for part in text.split(",") if part.strip()))

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the keys, the one that encrypts first."""
        return tuple(key.id for key in self._keys)

    def derive(self, purpose: str) -> bytes:
        """Make 32 bytes for another purpose, from the last key, which is the oldest."""
        return self._keys[-1].derive(purpose)

    def seal(self, plain: str, place: Place) -> str:
        """Encrypt a value for its place. The same value never looks the same twice."""
        key = self._keys[0]
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(key.secret).encrypt(nonce, plain.encode(), _bound(key.id, place))
        return ".".join((_VERSION, key.id, _encode(nonce), _encode(sealed)))

    def open(self, envelope: str, place: Place) -> str:
        """Decrypt what `seal` made for the same place.

        Raises:
            KeyMissing: the key it was sealed with isn't among ours; its id is named.
            StateError: it is damaged, not an envelope, or belongs to another place.
        """
        where = f"{place.table}.{place.column} of row {place.row}"
        parts = envelope.split(".")
        if len(parts) != 4 or parts[0] != _VERSION:
            raise StateError(f"{where} is not an envelope of version {_VERSION}", fix=_drop(place))
        key = self._by_id.get(parts[1])
        if key is None:
            named = parts[1] if _KEY_ID.fullmatch(parts[1]) else "of an unreadable name"
            raise KeyMissing(
                f"{where} is encrypted with key {named}; CDC_ENCRYPTION_KEY has {', '.join(self._by_id)}",
                fix=f"add the old key behind the new one, separated by a comma, or {_drop(place)}",
            )
        try:
            nonce, sealed = _decode(parts[2]), _decode(parts[3])
            return AESGCM(key.secret).decrypt(nonce, sealed, _bound(key.id, place)).decode()
        except (InvalidTag, ValueError):
            raise StateError(f"{where} was changed or moved since it was encrypted", fix=_drop(place)) from None

    def renew(self, envelope: str, place: Place) -> str:
        """Give the same value under the first key; the envelope itself if it is that already.

        Raises:
            KeyMissing: as `open`.
            StateError: as `open`.
        """
        plain = self.open(envelope, place)
        return envelope if key_id(envelope) == self.ids[0] else self.seal(plain, place)


def key_id(envelope: str) -> str:
    """Name the key that a value was sealed with, as far as the envelope tells; empty if it doesn't."""
    parts = envelope.split(".")
    return parts[1] if len(parts) == 4 and _KEY_ID.fullmatch(parts[1]) else ""


def _bound(name: str, place: Place) -> bytes:
    # JSON, so that no two places give the same bytes, whatever is in their names.
    return json.dumps([_VERSION, name, place.table, place.row, place.column]).encode()


_AFTER_DROP = {"cdc.secret": "it is made anew, and every record is compared and sent once more"}


def _drop(place: Place) -> str:
    after = _AFTER_DROP.get(place.table, "it is made anew from ZOHO_REFRESH_TOKEN, or by `cdc login zoho`")
    return f"delete row {place.row} from {place.table}; {after}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    data = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise ValueError("not the one way of writing these bytes")
    return data
