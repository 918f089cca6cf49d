"""Tokens of the app's own sign-in: whom they let in, and each way in which one is wrong."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs

from cdc.settings import Settings
from cdc.web.access import keys as keys_module
from cdc.web.access.keys import COOLDOWN_SECONDS, FRESH_SECONDS, USABLE_SECONDS, RemoteKeys
from cdc.web.access.supabase import LONGEST, SupabaseTokens
from cdc.web.access.visitors import Role, SignInRefused
from tests.support.jwks import PATH, USER, Project, SigningKey, project, unsigned, with_mac

SECRET = "the-legacy-secret-of-a-project-that-is-none"
ES, RS, ED = (SigningKey.make(name.lower(), name) for name in ("ES256", "RS256", "EdDSA"))
STRANGER = SigningKey.make("es256")


@pytest.fixture
def supabase() -> Iterator[Project]:
    with project() as made:
        made.publish(ES, RS, ED)
        yield made


def by_keys(supabase: Project, **values: Any) -> SupabaseTokens:
    settings = Settings(_env_file=None, supabase_url=supabase.url, cdc_dashboard_jwt="jwks", **values)
    made = SupabaseTokens.configured(settings)
    assert made is not None
    return made


def by_secret(**values: Any) -> SupabaseTokens:
    settings = Settings(_env_file=None, supabase_jwt_secret=SECRET, cdc_dashboard_jwt="secret", **values)
    made = SupabaseTokens.configured(settings)
    assert made is not None
    return made


async def refusal(tokens: SupabaseTokens, token: str) -> SignInRefused:
    with pytest.raises(SignInRefused) as caught:
        await tokens.check(token)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert token not in caught.value.sentence + caught.value.word
    return caught.value


@pytest.mark.parametrize("key", [ES, RS, ED], ids=lambda key: key.algorithm)
async def test_an_administrator_is_let_in_whatever_the_project_signs_with(supabase: Project, key: SigningKey) -> None:
    claims = supabase.claims()
    admitted = await by_keys(supabase).check(key.sign(claims))
    assert (admitted.visitor.name, admitted.visitor.role) == ("ada@example.org", Role.OPERATOR)
    assert admitted.ends_at == claims["exp"]


async def test_the_legacy_secret_lets_in_as_well(supabase: Project) -> None:
    token = jwt.encode(supabase.claims(), SECRET, "HS256")
    assert (await by_secret().check(token)).visitor.role is Role.OPERATOR


@pytest.mark.parametrize(
    ("named", "role"),
    [
        ("admin", Role.OPERATOR), ("superadmin", Role.OPERATOR), ("advisor", Role.VIEWER),
        (["x", "advisor"], Role.VIEWER), (["advisor", "admin"], Role.OPERATOR),
        ("student", None), ("Admin", None), ("", None), (None, None), ([], None),
        ({"admin": True}, None), ([["admin"]], None), (1, None), (True, None),
    ],
)  # fmt: skip
async def test_a_role_is_one_of_the_configured_ones(supabase: Project, named: Any, role: Role | None) -> None:
    tokens = by_keys(supabase, cdc_dashboard_viewer_roles="advisor, parent")
    token = ES.sign(supabase.claims(app_metadata={"role": named}))
    if role is not None:
        assert (await tokens.check(token)).visitor.role is role
    else:
        refused = await refusal(tokens, token)
        assert (refused.word, refused.status) == ("no_role", 403)


async def test_a_claim_of_an_access_token_hook_can_be_named(supabase: Project) -> None:
    tokens = by_keys(supabase, cdc_dashboard_role_claim="user_role")
    assert (await tokens.check(ES.sign(supabase.claims(user_role="admin")))).visitor.role is Role.OPERATOR
    assert (await refusal(tokens, ES.sign(supabase.claims()))).word == "no_role"


async def test_what_a_user_wrote_themselves_gives_no_role(supabase: Project) -> None:
    own = {"role": "admin", "app_metadata": {"role": "admin"}}
    token = ES.sign(supabase.claims(app_metadata={}, user_metadata=own, email="admin", phone="admin"))
    assert (await refusal(by_keys(supabase), token)).word == "no_role"


def now() -> int:
    return int(time.time())


WRONG_CLAIMS: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("expired", lambda: {"exp": now() - 60}),
    ("not_yet_valid", lambda: {"nbf": now() + 600}),
    ("not_yet_valid", lambda: {"iat": now() + 600}),
    ("foreign_audience", lambda: {"aud": "anon"}),
    ("foreign_audience", lambda: {"aud": ["anon", "other"]}),
    ("foreign_issuer", lambda: {"iss": "https://another.supabase.co/auth/v1"}),
    ("foreign_issuer", lambda: {"iss": "supabase"}),
    ("claim_missing", lambda: {"exp": None}),
    ("claim_missing", lambda: {"sub": None}),
    ("claim_missing", lambda: {"aud": None}),
    ("claim_missing", lambda: {"iss": None}),
    ("malformed", lambda: {"exp": "tomorrow"}),
    ("anonymous", lambda: {"is_anonymous": True}),
]


@pytest.mark.parametrize(("word", "changes"), WRONG_CLAIMS, ids=range(len(WRONG_CLAIMS)))
async def test_each_wrong_claim_has_a_reason_of_its_own(
    supabase: Project, word: str, changes: Callable[[], dict[str, Any]]
) -> None:
    assert (await refusal(by_keys(supabase), ES.sign(supabase.claims(**changes())))).word == word


FORGED: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
    ("algorithm", lambda claims: unsigned({"alg": "none", "typ": "JWT"}, claims)),
    ("algorithm", lambda claims: unsigned({"alg": "none", "kid": "es256"}, claims)),
    ("algorithm", lambda claims: unsigned({"alg": "NONE", "kid": "es256"}, claims, b"x")),
    ("algorithm", lambda claims: unsigned({"kid": "es256"}, claims)),
    ("algorithm", lambda claims: unsigned({"alg": ["ES256"], "kid": "es256"}, claims)),
    ("algorithm", lambda claims: with_mac({"alg": "HS256", "kid": "rs256"}, claims, RS.public_pem)),
    ("algorithm", lambda claims: with_mac({"alg": "HS256", "kid": "es256"}, claims, ES.public_pem)),
    ("algorithm", lambda claims: with_mac({"alg": "HS256"}, claims, SECRET.encode())),
    ("signature", lambda claims: with_mac({"alg": "RS256", "kid": "rs256"}, claims, RS.public_pem)),
    ("algorithm", lambda claims: jwt.encode(claims, RS.private, "RS384", {"kid": "rs256"})),
    ("algorithm", lambda claims: jwt.encode(claims, RS.private, "PS256", {"kid": "rs256"})),
    ("algorithm", lambda claims: jwt.encode(claims, RS.private, "RS256", {"kid": "es256"})),
    ("signature", lambda claims: STRANGER.sign(claims)),
    ("signature", lambda claims: STRANGER.sign(claims, jwk=STRANGER.published)),
    ("foreign_key", lambda claims: STRANGER.sign(claims, kid="stranger", jku="http://127.0.0.1:9/")),
    ("foreign_key", lambda claims: STRANGER.sign(claims, kid="../../etc/passwd")),
    ("foreign_key", lambda claims: STRANGER.sign(claims, kid="' or 1=1 --")),
    ("foreign_key", lambda claims: jwt.encode(claims, ES.private, "ES256")),
    ("too_long", lambda claims: ES.sign({**claims, "more": "x" * LONGEST})),
    ("malformed", lambda claims: ES.sign(claims, crit=["exp"])),
    ("malformed", lambda _: "a.b.c"),
    ("malformed", lambda _: ".."),
    ("malformed", lambda _: "\udcff.\x00.é"),
    ("signature", lambda claims: ES.sign(claims)[:-6] + "AAAAAA"),
]


@pytest.mark.parametrize(("word", "forge"), FORGED, ids=range(len(FORGED)))
async def test_no_forged_token_lets_anybody_in(
    supabase: Project, word: str, forge: Callable[[dict[str, Any]], str]
) -> None:
    assert (await refusal(by_keys(supabase), forge(supabase.claims()))).word == word


@pytest.mark.parametrize(
    ("word", "forge"),
    [
        ("signature", lambda claims: jwt.encode(claims, "another-secret-of-a-project-that-is-none", "HS256")),
        ("algorithm", lambda claims: jwt.encode(claims, SECRET * 2, "HS512")),
        ("algorithm", ES.sign),
        ("algorithm", lambda claims: unsigned({"alg": "none"}, claims)),
    ],
)
async def test_with_the_legacy_secret_nothing_else_counts(
    supabase: Project, word: str, forge: Callable[[dict[str, Any]], str]
) -> None:
    assert (await refusal(by_secret(), forge(supabase.claims()))).word == word
    assert supabase.asked == 0


async def test_the_projects_api_keys_let_nobody_in(supabase: Project) -> None:
    claims = {"iss": "supabase", "ref": "x", "role": "service_role", "iat": now(), "exp": now() + 9999}
    assert (await refusal(by_secret(), jwt.encode(claims, SECRET, "HS256"))).word == "claim_missing"


async def test_a_name_without_an_e_mail_is_the_user_s_id(supabase: Project) -> None:
    for email in (None, "", 7, "\n\t"):
        assert (await by_keys(supabase).check(ES.sign(supabase.claims(email=email)))).visitor.name == USER


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def remote(supabase: Project, clock: Clock) -> RemoteKeys:
    return RemoteKeys(supabase.url + PATH, clock)


async def test_the_keys_are_fetched_once_and_again_after_ten_minutes(
    remote: RemoteKeys, supabase: Project, clock: Clock
) -> None:
    for _ in range(3):
        assert await remote.find("es256") is not None
    assert supabase.asked == 1
    clock.now += FRESH_SECONDS + 1
    assert await remote.find("es256") is not None
    assert supabase.asked == 2


async def test_a_rotated_key_is_found_and_unknown_names_make_no_flood(
    remote: RemoteKeys, supabase: Project, clock: Clock
) -> None:
    assert await remote.find("es256") is not None
    supabase.publish(SigningKey.make("new"))
    for n in range(50):
        assert await remote.find(f"unknown-{n}") is None
    assert supabase.asked == 1
    clock.now += COOLDOWN_SECONDS
    assert await remote.find("new") is not None
    assert await remote.find("es256") is None, "it was withdrawn"
    assert supabase.asked == 2


async def test_keys_are_kept_for_a_while_when_they_cannot_be_had_and_no_longer(
    remote: RemoteKeys, supabase: Project, clock: Clock
) -> None:
    assert await remote.find("es256") is not None
    supabase.status = 500
    clock.now += FRESH_SECONDS + 1
    assert await remote.find("es256") is not None
    clock.now += USABLE_SECONDS - FRESH_SECONDS
    with pytest.raises(SignInRefused, match="keys_unavailable") as caught:
        await remote.find("es256")
    assert caught.value.status == 503
    supabase.status = 200
    clock.now += COOLDOWN_SECONDS
    assert await remote.find("es256") is not None


@pytest.mark.parametrize(
    "answer",
    [
        {"body": b"not json"}, {"body": b"[]"}, {"body": b'{"keys": {}}'}, {"body": b"[" * 100_000},
        {"body": b'{"keys": "' + b"x" * 300_000 + b'"}'}, {"status": 404},
        {"status": 302, "headers": {"location": "http://127.0.0.1:9/"}},
        {"headers": {"content-encoding": "gzip"}},
    ],
)  # fmt: skip
async def test_what_is_no_list_of_keys_lets_nobody_in(
    remote: RemoteKeys, supabase: Project, answer: dict[str, Any]
) -> None:
    for name, value in answer.items():
        setattr(supabase, name, value)
    with pytest.raises(SignInRefused, match="keys_unavailable"):
        await remote.find("es256")
    asked = supabase.asked
    with pytest.raises(SignInRefused, match="keys_unavailable"):
        await remote.find("es256")
    assert supabase.asked == asked, "not twice in five seconds"


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(keys_module, "_FETCH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote = RemoteKeys(f"http://127.0.0.1:{silent.getsockname()[1]}{PATH}", clock)
        with pytest.raises(SignInRefused, match="keys_unavailable"):
            await remote.find("es256")


async def test_keys_that_cannot_be_trusted_are_left_out(remote: RemoteKeys, supabase: Project) -> None:
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "oct", "alg": "HS256"}
    encrypting = {**RS.published, "kid": "enc", "use": "enc"}
    broken = {**ES.published, "kid": "broken", "x": "AAAA"}
    other = {**RS.published, "kid": "rs512", "alg": "RS512"}
    nameless = {name: value for name, value in ES.published.items() if name != "kid"}
    supabase.publish(secret, encrypting, broken, other, nameless, {"kty": []}, {"kty": "EC", "crv": 7}, ES)
    assert await remote.find("es256") is not None
    for kid in ("oct", "enc", "broken", "rs512"):
        assert await remote.find(kid) is None


async def test_a_project_that_publishes_no_key_is_told_of(remote: RemoteKeys, supabase: Project) -> None:
    supabase.publish()
    with capture_logs() as logs:
        assert await remote.find("es256") is None
    assert "shared secret" in logs[0]["hint"]


def test_off_means_off() -> None:
    assert SupabaseTokens.configured(Settings(_env_file=None, supabase_url="https://x.supabase.co")) is None
