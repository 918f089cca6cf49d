"""Envelopes: nothing but the right key and the right place opens one."""

from __future__ import annotations

import base64
import secrets

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cdc.errors import CdcError, ConfigError, StateError
from cdc.state.envelope import Key, Keyring, Place

KEY = Key(bytes(range(32)))
RING = Keyring((KEY,))
PLACE = Place("cdc.zoho_tokens", "zoho", "access_token")
SEALED = RING.seal("secret", PLACE)  # once: each seal has a nonce of its own, and an example must mean the same twice


@given(st.text(), st.builds(Place, st.text(), st.text(), st.text()))
def test_what_was_sealed_opens_in_its_place(plain: str, place: Place) -> None:
    envelope = RING.seal(plain, place)
    assert RING.open(envelope, place) == plain
    assert envelope.isascii()


@given(st.builds(Place, st.text(), st.text(), st.text()), st.builds(Place, st.text(), st.text(), st.text()))
def test_it_opens_nowhere_else(here: Place, there: Place) -> None:
    assume(here != there)
    with pytest.raises(StateError):
        RING.open(RING.seal("secret", here), there)


@given(st.data())
def test_any_change_is_noticed(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(SEALED) - 1))
    letter = data.draw(st.sampled_from("ABYZabyz0189-_.=+/ é").filter(lambda c: c != SEALED[position]))
    with pytest.raises(CdcError) as error:
        RING.open(SEALED[:position] + letter + SEALED[position + 1 :], PLACE)
    assert "secret" not in str(error.value)


@given(st.text())
def test_any_text_opens_or_is_refused(text: str) -> None:
    with pytest.raises(CdcError):
        RING.open(text, PLACE)


def test_the_same_value_never_looks_the_same() -> None:
    sealed = [RING.seal("secret", PLACE) for _ in range(200)]
    assert len(set(sealed)) == 200
    assert len({s.split(".")[2] for s in sealed}) == 200


def test_the_form_is_the_documented_one() -> None:
    version, key_id, nonce, sealed = RING.seal("secret", PLACE).split(".")
    assert (version, key_id) == ("v1", KEY.id)
    assert len(base64.urlsafe_b64decode(nonce)) == 12
    assert len(base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))) == len("secret") + 16


@given(st.binary(min_size=32, max_size=32))
def test_a_key_may_be_hex_or_base64_of_either_alphabet(secret: bytes) -> None:
    forms = [
        secret.hex(),
        secret.hex().upper(),
        base64.b64encode(secret).decode(),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        f"  {base64.b64encode(secret).decode()}\n",
    ]
    assert {Key.parse(form).secret for form in forms} == {secret}


@pytest.mark.parametrize("text", ["", "secret", "ab" * 16, "z" * 64, "é" * 32, "!" * 43])
def test_a_bad_key_is_refused_with_the_command_that_makes_a_good_one(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        Keyring.parse(text)
    assert "CDC_ENCRYPTION_KEY" in str(error.value)
    assert "openssl rand -base64 32" in str(error.value)
    assert not text or text not in str(error.value)


def test_an_unknown_key_is_named_by_its_id() -> None:
    other = Keyring((Key(secrets.token_bytes(32)),))
    with pytest.raises(ConfigError, match=f"encrypted with key {KEY.id}") as error:
        other.open(RING.seal("secret", PLACE), PLACE)
    assert "secret" not in str(error.value)


def test_rotation_reads_the_old_writes_the_new_and_keeps_the_ledgers_key() -> None:
    old, new = Key(secrets.token_bytes(32)), Key(secrets.token_bytes(32))
    text = ",".join(base64.b64encode(k.secret).decode() for k in (new, old))
    both = Keyring.parse(text)
    assert both.open(Keyring((old,)).seal("secret", PLACE), PLACE) == "secret"
    assert Keyring((new,)).open(both.seal("secret", PLACE), PLACE) == "secret"
    assert both.derive("ledger") == Keyring((old,)).derive("ledger")


def test_derived_keys_differ_by_purpose_and_from_the_key() -> None:
    derived = {RING.derive("ledger"), RING.derive("other"), KEY.secret}
    assert len(derived) == 3
    assert {len(d) for d in derived} == {32}


def test_a_key_does_not_show_itself() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert repr(KEY.secret) not in repr(KEY)
