"""People who come with a token of the app's own sign-in: a Supabase JWT whose claims name an admin role.

A JWKS and the shared secret are never used side by side: whoever may choose the algorithm could otherwise sign with the
public key as the secret. The algorithm is that of the key, and never what the token says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from cdc.settings import Settings, words_in
from cdc.web.access.keys import ALGORITHMS, RemoteKeys
from cdc.web.access.visitors import Admitted, Role, SignInRefused, Visitor, plain_name

VIA: Final = "jwt"
JWKS_PATH: Final = "/auth/v1/.well-known/jwks.json"
LEEWAY_SECONDS: Final = 10
LONGEST: Final = 16 * 1024
NOT_ACCEPTED: Final = "This token isn't accepted here."
_EXPIRED: Final = "This token has run out. Sign in to the app again and copy a fresh one."
_NO_ROLE: Final = "This account has no role that may see this page."

# The first that fits; the order is from the narrow to the wide.
_REASONS: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (jwt.ExpiredSignatureError, "expired", _EXPIRED),
    (jwt.ImmatureSignatureError, "not_yet_valid", NOT_ACCEPTED),
    (jwt.InvalidAudienceError, "foreign_audience", NOT_ACCEPTED),
    (jwt.InvalidIssuerError, "foreign_issuer", NOT_ACCEPTED),
    (jwt.MissingRequiredClaimError, "claim_missing", NOT_ACCEPTED),
    (jwt.InvalidAlgorithmError, "algorithm", NOT_ACCEPTED),
    (jwt.InvalidSignatureError, "signature", NOT_ACCEPTED),
    (Exception, "malformed", NOT_ACCEPTED),
)
_FAULTS: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class SupabaseTokens:
    """What is asked of a Supabase JWT.

    Attributes:
        keys: where it must be signed with a key of the project; exactly one of this and `secret` is set.
        secret: the project's legacy shared secret.
        audience: that it must be meant for.
        issuer: that must have made it; None if that isn't known.
        claim: path of the claim that names a role, or a list of them.
        roles: what the names mean here.
    """

    keys: RemoteKeys | None
    secret: str | None = field(repr=False)
    audience: str
    issuer: str | None
    claim: tuple[str, ...]
    roles: Mapping[str, Role]

    @classmethod
    def configured(cls, settings: Settings) -> SupabaseTokens | None:
        """Take it from the settings; None if nobody is to sign in so."""
        url, secret = settings.supabase_url, settings.supabase_jwt_secret
        if settings.cdc_dashboard_jwt == "off":
            return None
        by_secret = settings.cdc_dashboard_jwt == "secret"
        roles = dict.fromkeys(words_in(settings.cdc_dashboard_viewer_roles), Role.VIEWER)
        roles |= dict.fromkeys(words_in(settings.cdc_dashboard_operator_roles), Role.OPERATOR)
        return cls(
            None if by_secret else RemoteKeys(f"{url}{JWKS_PATH}"),
            secret.get_secret_value() if by_secret and secret is not None else None,
            settings.cdc_dashboard_jwt_audience,
            None if url is None else f"{url}/auth/v1",
            tuple(settings.cdc_dashboard_role_claim.split(".")),
            roles,
        )

    async def check(self, token: str) -> Admitted:
        """Let somebody in, or say why not.

        Raises:
            SignInRefused: with a word of its own for each reason.
        """
        if len(token) > LONGEST:
            raise SignInRefused("too_long", NOT_ACCEPTED)
        try:
            header = jwt.get_unverified_header(token)
            key, algorithm = await self._key_for(header)
            claims = jwt.decode(
                token, key, algorithms=[algorithm], audience=self.audience, issuer=self.issuer, leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "aud", "sub", *(["iss"] if self.issuer else [])]},
            )  # fmt: skip
        except _FAULTS as error:
            word, sentence = next((w, s) for kind, w, s in _REASONS if isinstance(error, kind))
            raise SignInRefused(word, sentence) from None
        if claims.get("is_anonymous") is True:
            raise SignInRefused("anonymous", _NO_ROLE)
        role = self._role_in(claims)
        if role is None:
            raise SignInRefused("no_role", _NO_ROLE, 403)
        name = plain_name(claims.get("email"), plain_name(claims.get("sub"), "somebody"))
        return Admitted(Visitor(name, role), VIA, float(claims["exp"]))

    async def _key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        algorithm, key_id = header.get("alg"), header.get("kid")
        if self.keys is None:
            if algorithm != "HS256":
                raise jwt.InvalidAlgorithmError
            return self.secret, "HS256"
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise jwt.InvalidAlgorithmError
        key = await self.keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise SignInRefused("foreign_key", NOT_ACCEPTED)
        if key.algorithm_name != algorithm:
            raise jwt.InvalidAlgorithmError
        return key.key, key.algorithm_name

    def _role_in(self, claims: Mapping[str, Any]) -> Role | None:
        value: Any = claims
        for step in self.claim:
            value = value.get(step) if isinstance(value, dict) else None
        named = value if isinstance(value, list) else [value]
        return max((self.roles[name] for name in named if isinstance(name, str) and name in self.roles), default=None)
