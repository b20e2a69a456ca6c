"""What an OpenID provider says, read with suspicion: its description, its keys, its token.  Whoever asks it is `ask`.

    configuration = read_configuration(body, issuer)
    keys = read_keys(body)
    claims = read_id_token(token, keys, expected, now)     # UnknownKey: look at the keys anew, then again

A token counts if one of the provider's own keys signed it with RS256 or ES256, and it says of itself that it is this issuer's, for us and
nobody else, fresh, and the answer to the sign-in that this browser began.  What a token's header says of keys (jwk, jku, x5u, x5c) is never
followed, and `none` and HS256, which a public key would verify, are no algorithms here.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from guilder.core.errors import Busy, Rejected

ALGORITHMS = {"RS256": "RSA", "ES256": "EC"}  # and the kind of key that each takes
SKEW_S = 60  # what clocks may differ
FRESH_S = 600  # a token that was made longer ago is not of this sign-in
MAX_TOKEN = 16_384
MIN_MODULUS = 256  # bytes: RSA of 2048 bits
_EMAIL = re.compile(r"[^@\s\x00]{1,256}@[^@\s\x00]{1,255}")
_POINTERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit"})


class SignInRefused(Rejected):
    """You were not signed in."""

    status = 403
    code = "identity_refused"


class ProviderUnavailable(Busy):
    """The identity provider cannot be asked; nobody was signed in. Try again, or sign in another way."""

    code = "identity_provider_unavailable"


class UnknownKey(SignInRefused):
    """The identity provider signed with a key that it does not hand out."""


class Configuration(msgspec.Struct, frozen=True):
    """What a provider says of itself (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Claims(msgspec.Struct, frozen=True):
    """What a token, or the provider's userinfo, says of somebody."""

    sub: str
    iss: str = ""
    aud: str | list[str] = ""
    azp: str | None = None
    exp: float = 0
    iat: float = 0
    nbf: float = 0
    nonce: str = ""
    email: str | None = None
    email_verified: Any = None
    name: Any = None
    amr: Any = None

    @property
    def verified_email(self) -> str | None:
        """The address, in lower case, if the provider says `true` of it: not 'true', not 1."""
        email = (self.email or "").strip().lower()
        return email if self.email_verified is True and _EMAIL.fullmatch(email) else None

    @property
    def shown_name(self) -> str:
        """What the person is called, as far as that can be shown."""
        return "".join(c for c in self.name if c.isprintable())[:200] if isinstance(self.name, str) else ""

    @property
    def second_factor(self) -> bool:
        """Whether the provider says that it asked for more than one proof (RFC 8176)."""
        return isinstance(self.amr, list) and "mfa" in self.amr


class Tokens(msgspec.Struct, frozen=True):
    """What a code is exchanged for."""

    id_token: str
    access_token: str = ""


class _Keys(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to say."""

    issuer: str
    client_id: str
    nonce: str


def read_configuration(body: bytes, issuer: str) -> Configuration:
    """A provider's description of itself.  Raises ProviderUnavailable if it is another's, or none."""
    found = _read(body, Configuration, issuer)
    if found.issuer != issuer:
        raise ProviderUnavailable(
            f"{issuer} says that it is {found.issuer[:200]!r}: the issuer has to be the same, letter by letter."
        )
    return found


def read_keys(body: bytes, issuer: str) -> list[dict[str, Any]]:
    """A provider's keys, as they are.  Raises ProviderUnavailable."""
    return _read(body, _Keys, issuer).keys


def read_tokens(body: bytes, issuer: str) -> Tokens:
    """What a code was exchanged for.  Raises ProviderUnavailable."""
    return _read(body, Tokens, issuer)


def read_userinfo(body: bytes, issuer: str) -> Claims:
    """What userinfo says.  Raises ProviderUnavailable."""
    return _read(body, Claims, issuer)


def with_email(claims: Claims, found: Claims) -> Claims:
    """The claims of a token with the address that userinfo says."""
    return msgspec.structs.replace(
        claims, email=found.email, email_verified=found.email_verified, name=claims.name or found.name
    )


def read_id_token(token: str, keys: Sequence[Mapping[str, Any]], expected: Expected, now: datetime) -> Claims:
    """Who a token speaks of.  Raises SignInRefused if anything about it is not as it has to be, UnknownKey for its key."""
    if len(token) > MAX_TOKEN:
        raise SignInRefused("The identity provider's token is too large.")
    header = _header(token)
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise SignInRefused(
            f"The identity provider's token is signed with {str(alg)[:20]!r}; only {' and '.join(ALGORITHMS)} are believed."
        )
    if pointers := sorted(_POINTERS & header.keys()):
        raise SignInRefused(
            f"The identity provider's token says where its key is to be found ({', '.join(pointers)}): nobody looks there."
        )
    key = _key(keys, alg, kid)
    try:
        signed = jws.deserialize_compact(token, key, registry=JWSRegistry(algorithms=[alg], strict_check_header=False))
        claims = msgspec.json.decode(signed.payload or b"", type=Claims)
    except (JoseError, msgspec.MsgspecError, ValueError, TypeError, KeyError) as error:
        raise SignInRefused("The identity provider's token does not verify.") from error
    _check(claims, expected, now.timestamp())
    return claims


def _check(claims: Claims, expected: Expected, now: float) -> None:
    """What a token says of itself (OpenID Connect Core 1.0, 3.1.3.7)."""
    faults = {
        "is another issuer's": claims.iss != expected.issuer,
        "is not for us alone": claims.aud not in (expected.client_id, [expected.client_id]),
        "was given to another party": claims.azp is not None and claims.azp != expected.client_id,
        "has expired": claims.exp <= now - SKEW_S,
        "was not made just now": not now - FRESH_S < claims.iat <= now + SKEW_S,
        "is not valid yet": claims.nbf > now + SKEW_S,
        "belongs to another sign-in": not hmac.compare_digest(claims.nonce.encode(), expected.nonce.encode()),
        "names nobody": not (0 < len(claims.sub) <= 255 and claims.sub.isprintable()),
    }
    if wrong := [fault for fault, found in faults.items() if found]:
        raise SignInRefused(f"The identity provider's token {' and '.join(wrong)}.")


def _header(token: str) -> dict[str, Any]:
    """A token's header.  Nothing in it is believed; it says what to look for."""
    head = token.partition(".")[0]
    try:
        return msgspec.json.decode(_bytes(head), type=dict[str, Any])
    except (ValueError, msgspec.MsgspecError) as error:
        raise SignInRefused("The identity provider's token is none.") from error


def _key(keys: Sequence[Mapping[str, Any]], alg: str, kid: object) -> RSAKey | ECKey:
    """The one key of the provider's that this header can mean."""
    fit = [k for k in keys if _fits(k, alg) and (kid is None or k.get("kid") == kid)]
    if len(fit) != 1:
        raise UnknownKey
    try:
        wanted = {name: value for name, value in fit[0].items() if name in ("kty", "n", "e", "crv", "x", "y")}
        return RSAKey.import_key(wanted) if alg == "RS256" else ECKey.import_key(wanted)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise UnknownKey from error


def _fits(key: Mapping[str, Any], alg: str) -> bool:
    if key.get("kty") != ALGORITHMS[alg] or key.get("use", "sig") != "sig" or key.get("alg", alg) != alg:
        return False
    if alg == "ES256":
        return key.get("crv") == "P-256"
    try:
        return len(_bytes(key.get("n", "")).lstrip(b"\0")) >= MIN_MODULUS
    except ValueError:
        return False


def _bytes(text: object) -> bytes:
    """The bytes of base64url without padding.  Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("no text")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _read(body: bytes, kind: type[Any], issuer: str) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise ProviderUnavailable(f"{issuer} does not speak OpenID Connect: {error}. Nobody was signed in.") from error
