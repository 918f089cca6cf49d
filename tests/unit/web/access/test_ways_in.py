"""Tokens, the link of the terminal, sessions and tries: each by a clock of its own."""

from __future__ import annotations

import jwt
import pytest
from pydantic import SecretStr

from cdc.settings import Settings
from cdc.web.access import Access, Role
from cdc.web.access.attempts import MOST, SECONDS_EACH, Attempts
from cdc.web.access.link import AFTER_USE_SECONDS, LoginLink
from cdc.web.access.sessions import SECONDS, Sessions
from cdc.web.access.tokens import Tokens
from cdc.web.access.visitors import Admitted, SignInRefused, Visitor

KEY = "bm90IGEgcmVhbCBrZXksIG9ubHkgb25lIGZvciB0ZXM="
ANNA, BEN, VERA = "token-of-anna-operator", "token-of-ben-operator", "token-of-vera-viewer"
ADA = Admitted(Visitor("ada", Role.OPERATOR), "jwt")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def configured(operators: str = f"anna:{ANNA}, {BEN}", viewers: str = f"vera w.:{VERA}") -> Settings:
    return Settings(
        _env_file=None, cdc_dashboard_tokens=SecretStr(operators), cdc_dashboard_view_tokens=SecretStr(viewers)
    )


def test_each_token_names_whom_it_was_given_to() -> None:
    tokens = Tokens.configured(configured(), b"k" * 32)
    found = {secret: tokens.find(secret) for secret in (ANNA, BEN, VERA, f"anna:{ANNA}", "", "x" * 99, "\udcff")}
    people = {secret: None if one is None else (one.visitor.name, one.visitor.role) for secret, one in found.items()}
    assert people == {
        ANNA: ("anna", Role.OPERATOR), BEN: ("operator", Role.OPERATOR), VERA: ("vera w.", Role.VIEWER),
        f"anna:{ANNA}": None, "": None, "x" * 99: None, "\udcff": None,
    }  # fmt: skip
    assert found[ANNA] is not None
    assert ANNA not in repr(tokens) + repr(found[ANNA])


async def test_a_token_that_is_taken_away_ends_its_sessions_and_no_other() -> None:
    before = Access.configured(configured(), KEY)
    assert before is not None
    cookies = [before.sessions.seal(before.sessions.begin(await before.check(t, "a"))) for t in (ANNA, BEN)]
    after = Access.configured(configured(operators=BEN), KEY)
    assert after is not None
    sessions = [after.sessions.read(cookie) for cookie in cookies]
    assert [session is not None and after.accepts(session) for session in sessions] == [False, True]


def test_the_link_is_good_until_used_and_a_little_longer(clock: Clock) -> None:
    link = LoginLink(clock)
    secret = link.path.partition("=")[2]
    assert len(secret) >= 20
    assert link.open("") is None
    assert link.open(secret[:-1]) is None
    assert link.open("\udcff") is None
    clock.now += 100_000
    assert link.open(secret) is not None
    clock.now += AFTER_USE_SECONDS
    assert link.open(secret) is not None
    clock.now += 1
    assert link.open(secret) is None
    assert LoginLink().path != link.path


def test_a_session_lasts_eight_hours_and_no_longer_than_what_began_it(clock: Clock) -> None:
    sessions = Sessions(b"k" * 32, clock)
    assert sessions.begin(ADA).ends_at == clock.now + SECONDS == clock.now + 8 * 3600
    short = sessions.begin(Admitted(ADA.visitor, "jwt", clock.now + 60.9))
    assert short.ends_at == clock.now + 60
    cookie = sessions.seal(short)
    clock.now += 59
    assert sessions.read(cookie) == short
    clock.now += 1
    assert sessions.read(cookie) is None


def test_a_session_that_ended_is_ended_for_its_copies_and_for_no_other(clock: Clock) -> None:
    sessions = Sessions(b"k" * 32, clock)
    one, other = sessions.begin(ADA), sessions.begin(ADA)
    assert one.csrf != other.csrf
    sessions.end(one)
    assert sessions.read(sessions.seal(one)) is None
    assert sessions.read(sessions.seal(other)) == other
    clock.now += SECONDS + 1
    sessions.end(other)
    assert list(sessions._ended) == [other.id], "what has run out needn't be remembered"


@pytest.mark.parametrize(
    ("key", "algorithm", "changes"),
    [
        (b"k" * 64, "HS512", {}), (None, "none", {}), (b"x" * 32, "HS256", {}), (b"k" * 64, "HS256", {"aud": "other"}),
        (b"k" * 64, "HS256", {"iss": "other"}), (b"k" * 64, "HS256", {"role": 3}), (b"k" * 64, "HS256", {"role": "2"}),
    ],
)  # fmt: skip
def test_a_cookie_of_another_make_is_none(
    clock: Clock, key: bytes | None, algorithm: str, changes: dict[str, object]
) -> None:
    sessions = Sessions(b"k" * 64, clock)
    claims = jwt.decode(sessions.seal(sessions.begin(ADA)), options={"verify_signature": False})
    assert sessions.read(jwt.encode(claims, b"k" * 64, "HS256")) is not None
    assert sessions.read(jwt.encode({**claims, **changes}, key, algorithm)) is None


def test_an_address_that_fails_too_often_waits_and_others_do_not(clock: Clock) -> None:
    attempts = Attempts(clock)
    for _ in range(MOST):
        assert attempts.wait("10.0.0.1") == 0
        attempts.failed("10.0.0.1")
    assert attempts.wait("10.0.0.1") == SECONDS_EACH
    assert attempts.wait("10.0.0.2") == 0
    clock.now += SECONDS_EACH
    assert attempts.wait("10.0.0.1") == 0, "one more"
    attempts.failed("10.0.0.1")
    assert attempts.wait("10.0.0.1") == SECONDS_EACH
    clock.now += MOST * SECONDS_EACH
    assert attempts.wait("10.0.0.1") == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True), ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True), ("no address", "no address", True), ("no address", "", False),
    ],
)  # fmt: skip
def test_a_network_of_ipv6_is_one_address(clock: Clock, one: str, other: str, same: bool) -> None:
    attempts = Attempts(clock)
    for _ in range(MOST):
        attempts.failed(one)
    assert (attempts.wait(other) > 0) is same


def test_addresses_without_number_take_no_memory_without_bound(clock: Clock) -> None:
    attempts = Attempts(clock)
    for n in range(10_000):
        attempts.failed(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}")
    assert len(attempts._full_at) <= 4096


async def test_after_too_many_tries_even_the_right_token_waits() -> None:
    access = Access.configured(configured(), KEY)
    assert access is not None
    for _ in range(MOST):
        with pytest.raises(SignInRefused, match="unknown_token"):
            await access.check("wrong", "10.0.0.1")
    with pytest.raises(SignInRefused, match="too_many_tries") as caught:
        await access.check(ANNA, "10.0.0.1")
    assert caught.value.status == 429
    assert (await access.check(ANNA, "10.0.0.2")).visitor.name == "anna"


async def test_a_program_whose_token_ran_out_locks_nobody_out() -> None:
    secret = "the-legacy-secret-of-a-project-that-is-none"
    settings = Settings(
        _env_file=None, cdc_dashboard_jwt="secret", supabase_jwt_secret=SecretStr(secret),
        cdc_dashboard_tokens=SecretStr(ANNA),
    )  # fmt: skip
    access = Access.configured(settings, KEY)
    assert access is not None
    old = jwt.encode({"exp": 1, "aud": "authenticated", "sub": "u"}, secret, "HS256")
    for _ in range(2 * MOST):
        with pytest.raises(SignInRefused, match="expired"):
            await access.check(old, "10.0.0.1")
    assert (await access.check(ANNA, "10.0.0.1")).visitor.role is Role.OPERATOR


@pytest.mark.parametrize(
    ("values", "way"),
    [
        ({}, "link"), ({"cdc_http_host": "::1"}, "link"), ({"cdc_http_host": "0.0.0.0"}, None),  # noqa: S104
        ({"cdc_http_host": "ops.example.org"}, None), ({"cdc_dashboard_tokens": SecretStr(ANNA)}, "credentials"),
        ({"cdc_http_host": "::", "cdc_dashboard_view_tokens": SecretStr(VERA)}, "credentials"),
        (
            {"cdc_http_host": "::", "cdc_dashboard_jwt": "secret", "supabase_jwt_secret": SecretStr(ANNA * 2)},
            "credentials",
        ),
        ({"supabase_url": "https://x.supabase.co"}, "link"),
    ],
)  # fmt: skip
def test_the_link_is_for_this_machine_and_for_want_of_something_better(
    values: dict[str, object], way: str | None
) -> None:
    access = Access.configured(Settings(_env_file=None, **values), KEY)  # type: ignore[arg-type]
    found = None if access is None else "credentials" if access.link is None else "link"
    assert found == way
