"""What every page is made of: headers, files, templates, languages, forms, and a brake."""

import hashlib
import time
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from guilder.cashier import device, words
from guilder.cashier.words import Words
from guilder.platform.environment import Env

MAX_FORM = 4096
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_ASSETS = {
    "cashier.css": "text/css",
    "cashier.js": "text/javascript",
    "go.js": "text/javascript",
    "counter.js": "text/javascript",
    "card.js": "text/javascript",
    "plate.css": "text/css",
    "mark.svg": "image/svg+xml",
}


@cache
def asset(name: str) -> str:
    """The address of a file of ours: it changes with its content."""
    return f"/assets/{hashlib.sha256(_asset(name)).hexdigest()[:12]}/{name}"


@cache
def _asset(name: str) -> bytes:
    return files("guilder.cashier").joinpath("static", name).read_bytes()


@cache
def templates(language: str) -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("guilder.cashier"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    env.install_gettext_translations(words.speak(language).translations, newstyle=True)  # pyrefly: ignore
    names: dict[str, Any] = {"asset": asset, "LANGUAGES": words.LANGUAGES, "NAMES": words.NAMES}
    env.globals.update(names)
    return env


def language(request: Request, session: str = "auto") -> Words:
    """The language of a reader: what he asked for, the session's, or his browser's."""
    asked = request.query_params.get("lang", "")
    return words.speak(words.choose(asked, session, request.headers.get("accept-language", "")))


def in_hand(request: Request) -> device.Device:
    """The device that asks."""
    return device.read(request.headers.get("user-agent", ""))


def is_foreign(env: Env, request: Request) -> bool:
    """Whether a form comes from another's page."""
    sent = request.headers.get("origin")
    return sent is not None and sent not in (origin(env.settings.cashier_url), origin(str(request.base_url)))


class Pace:
    """At most `count` of something per `within_s`, for each key.  In this process only: a brake, not a lock."""

    def __init__(self, count: int, within_s: float) -> None:
        self._count, self._within_s = count, within_s
        self._seen: dict[object, list[float]] = {}

    def allows(self, key: object) -> bool:
        """Whether once more is not too fast; counts it if so."""
        now = time.monotonic()
        if len(self._seen) > 10_000:
            self._seen = {k: times for k, times in self._seen.items() if times[-1] > now - self._within_s}
        times = [at for at in self._seen.get(key, []) if at > now - self._within_s]
        allowed = len(times) < self._count
        self._seen[key] = [*times, now] if allowed else times
        return allowed


def gone(request: Request, status: int) -> Response:
    """There is nothing to pay here, or not just now."""
    speak = language(request)
    content = templates(speak.code).get_template("gone.html").render(words=speak, status=status)
    return HTMLResponse(content, status, HEADERS)


async def file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS or request.url.path != asset(name):
        return gone(request, 404)
    kept = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(_asset(name), media_type=_ASSETS[name], headers=kept)


async def form(request: Request) -> dict[str, str] | None:
    """The form; None if it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            return None
    return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=20))


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
