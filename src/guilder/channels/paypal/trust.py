"""Whose webhooks count as PayPal's: signed with a certificate from a pinned place, by a trusted authority, for a name of PayPal's, in its time.

What is signed is `transmission id|transmission time|webhook id|CRC-32 of the raw body`; the header PAYPAL-CERT-URL says where the
certificate lies.  A sender may write there what he likes, so it is fetched from configured origins alone, and counts only if its chain
ends at an authority that is trusted here.  The webhook id in the text is what keeps another account's webhooks out.  Whose address is new
fetches that one alone: what others name, and whether it can be had, is no matter of his.
"""

import ssl
import warnings
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification

from guilder.channels.model import BadSignature, NeedsTrust
from guilder.channels.paypal.config import PayPalConfig
from guilder.channels.signing import MIN_BITS, Verifier
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence

ALGORITHM = "SHA256withRSA"
CERTIFICATES = "/v1/notifications/certs/"
OWNER = ".paypal.com"
MAX_BYTES = 1 << 16
KEPT = 16  # certificates; PayPal uses one or two at a time
ASK_AGAIN_AFTER = timedelta(minutes=1)  # for the same address, if what lies there counts for nothing
SILENT_AGAIN_AFTER = timedelta(seconds=3)  # if there was no answer
ASKED_AT_MOST = 10  # addresses at once, whoever names them
ONE_MORE_AFTER = timedelta(seconds=1)  # beyond them: strangers slow PayPal's own down, and never keep them out


class _Known(msgspec.Struct, frozen=True):
    verifier: Verifier
    since: datetime
    until: datetime


class Trust:
    """The certificates that verify webhooks."""

    def __init__(self, config: PayPalConfig, now: Callable[[], datetime]) -> None:
        self._now = now
        self._webhook_id = config.webhook_id.strip()
        self._origins = config.origins
        self._authority = config.authority.strip()
        if self._authority:
            try:
                x509.load_pem_x509_certificates(self._authority.encode())
            except ValueError:
                raise ValueError("authority is no PEM certificate") from None
        self._known: dict[str, _Known] = {}
        self._wanted: str | None = None
        self._flying: set[str] = set()
        self._not_before: dict[str, datetime] = {}  # addresses that gave nothing
        self._budget, self._counted_at = float(ASKED_AT_MOST), now()

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise BadSignature, or NeedsTrust, unless this webhook is PayPal's and ours.  Its age is no reason: it may be told for days."""
        url = headers.get("paypal-cert-url", "")
        id, time = headers.get("paypal-transmission-id", ""), headers.get("paypal-transmission-time", "")
        if headers.get("paypal-auth-algo", "") != ALGORITHM or not id or not time:
            raise BadSignature("it is not signed as PayPal signs")
        if not self._pinned(url):
            raise BadSignature("its certificate lies where PayPal's do not")
        known, now = self._known.get(url), self._now()
        if known is None or not known.since <= now < known.until:
            self._want(url, now)
        else:
            text = f"{id}|{time}|{self._webhook_id}|{zlib.crc32(body)}".encode(errors="replace")
            if not known.verifier.verify(text, headers.get("paypal-transmission-sig", "")):
                raise BadSignature("the signature does not verify")

    def _pinned(self, url: str) -> bool:
        try:
            place = urlsplit(url)
            origin = f"{place.scheme}://{place.netloc}"
        except ValueError:
            return False
        plain = (
            not place.query and not place.fragment and "@" not in place.netloc and "%" not in url and ".." not in url
        )
        return (
            plain
            and url.isascii()
            and len(url) < 300
            and origin in self._origins
            and place.path.startswith(CERTIFICATES)
        )

    def _want(self, url: str, now: datetime) -> None:
        """Say that `url` is needed: who is told so fetches it next.  BadSignature where it is not to be asked for now."""
        if url not in self._flying:
            self._not_before = {u: at for u, at in self._not_before.items() if now < at}
            since, self._counted_at = now - self._counted_at, now
            self._budget = min(ASKED_AT_MOST, self._budget + max(since / ONE_MORE_AFTER, 0))
            if url in self._not_before or self._budget < 1:
                raise BadSignature("signed with a certificate that could not be had a moment ago")
            self._budget -= 1
            self._flying.add(url)
        self._wanted = url
        raise NeedsTrust("signed with a certificate that is not known yet")

    def fetch(self) -> Exchange[bool]:
        """Fetch what was wanted last, which is what its caller wants.  False if it could not be had, or counts for nothing."""
        url, self._wanted = self._wanted, None
        if url is None:
            return True
        wait: timedelta | None = SILENT_AGAIN_AFTER
        try:
            reply = yield HttpCall("GET", url, {"Accept": "*/*", "User-Agent": "guilder"}, max_bytes=MAX_BYTES)
            if self._learn(url, reply):
                wait = None
            elif reply.status < 500 and reply.status != 429:
                wait = ASK_AGAIN_AFTER
        except (NotSent, Silence):
            pass
        finally:
            self._flying.discard(url)
        if wait is not None and url not in self._known:
            self._not_before[url] = self._now() + wait
        return wait is None

    def _learn(self, url: str, reply: HttpReply) -> bool:
        if reply.status != 200:
            return False
        try:
            chain = x509.load_pem_x509_certificates(reply.body)
            leaf = chain[0]
            self._vouched(leaf, chain[1:])
            key = leaf.public_key()
        except (ValueError, verification.VerificationError, x509.ExtensionNotFound, x509.DuplicateExtension):
            return False
        if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
            return False
        while len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[url] = _Known(Verifier(key), leaf.not_valid_before_utc, leaf.not_valid_after_utc)
        return True

    def _vouched(self, leaf: x509.Certificate, others: list[x509.Certificate]) -> None:
        """Raise VerificationError or ValueError unless a trusted authority says, today, that this is a name of PayPal's."""
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        owned = [name for name in names.get_values_for_type(x509.DNSName) if name.endswith(OWNER) and "*" not in name]
        if not owned:
            raise ValueError("the certificate is of somebody else")
        policy = verification.PolicyBuilder().store(self._store).time(self._now().astimezone(UTC).replace(tzinfo=None))
        policy.build_server_verifier(x509.DNSName(owned[0])).verify(leaf, others)

    @cached_property
    def _store(self) -> verification.Store:
        """The configured authority, or all that this machine trusts."""
        if self._authority:
            return verification.Store(x509.load_pem_x509_certificates(self._authority.encode()))
        trusted = []
        with warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning):
            for der in ssl.create_default_context().get_ca_certs(binary_form=True):
                try:
                    trusted.append(x509.load_der_x509_certificate(der))
                except ValueError:
                    continue  # one that cannot be read vouches for nobody
        return verification.Store(trusted)
