"""The other sides of a sign-in by an OpenID provider: a browser, a provider that is real, and one whose tokens the tests make by hand."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from uuid import uuid4

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from guilder.people import providers
from guilder.people.providers import Link, New
from stack import Stack

NODE = Path(__file__).parent / "oidc_node"
CLIENT, SECRET = "guilder", "a secret: with/odd+signs"
ACCOUNTS = {
    "alice": {"email": "Alice@work.test", "email_verified": True, "name": "Alice"},
    "bob": {"email": "bob@work.test", "email_verified": False, "name": "Bob"},
    "carol": {"email": "carol@elsewhere.test", "email_verified": True, "name": "Carol"},
}


@dataclass
class Answer:
    """What a browser was answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of a refusal."""
        return self.json["error"].get("code") if self.status >= 400 else None

    def header(self, name: str) -> str:
        return next((v for n, v in self.headers if n.lower() == name.lower()), "")


@dataclass
class Browser:
    """A browser that keeps cookies, each for the address that set it, and follows nothing by itself."""

    cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    def get(self, url: str, *, method: str = "GET", body: str | None = None, **headers: str) -> Answer:
        parts = urlsplit(url)
        kept = self.cookies.setdefault(parts.netloc, {})
        sent = {"Cookie": "; ".join(f"{n}={v}" for n, v in kept.items())} if kept else {}
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        connection.request(
            method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers={**sent, **headers}
        )
        answer = connection.getresponse()
        made = Answer(answer.status, answer.getheaders(), answer.read())
        connection.close()
        for name, value in made.headers:
            if name.lower() == "set-cookie":
                pair, _, rest = value.partition(";")
                n, _, v = pair.partition("=")
                gone = "max-age=0" in rest.lower() or "1970" in rest
                kept.pop(n, None) if gone else kept.update({n: v.strip('"')})
        return made

    def follow(self, url: str, until: str) -> str:
        """Go where one is sent, until that is `until`: the address that one would go to next."""
        for _ in range(12):
            if url.startswith(until):
                return url
            answer = self.get(url)
            assert answer.status in (302, 303), (url, answer.status, answer.body[:500])
            url = _absolute(url, answer.header("location"))
        raise AssertionError(f"sent round and round: {url}")


def _absolute(at: str, to: str) -> str:
    return to if "://" in to else f"http://{urlsplit(at).netloc}{to}"


def begin(browser: Browser, api: str, name: str) -> tuple[str, dict[str, str]]:
    """Begin a sign-in: the provider's address to go to, and what stands in it."""
    answer = browser.get(f"{api}/auth/oidc/{name}/start")
    assert answer.status == 302, (answer.status, answer.body)
    url = answer.header("location")
    return url, dict(parse_qsl(urlsplit(url).query))


def back(browser: Browser, api: str, name: str, **query: str) -> Answer:
    """Come back from the provider."""
    return browser.get(f"{api}/auth/oidc/{name}/callback?{urlencode(query)}")


# --------------------------------------------------------------------------------------------------- the real one


def new_key() -> dict[str, Any]:
    """A key of a provider's, with a name that no other has."""
    return RSAKey.generate_key(2048, {"kid": uuid4().hex, "use": "sig", "alg": "RS256"}).as_dict(private=True)


@dataclass
class Real:
    """panva's oidc-provider, in a process of its own."""

    stack: Stack
    name: str
    port: int
    amr: list[str] = field(default_factory=lambda: ["pwd"])
    key: dict[str, Any] = field(default_factory=new_key)
    process: subprocess.Popen[str] | None = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; what it had signed in before is forgotten."""
        node = shutil.which("node")
        if node is None or not (NODE / "node_modules").is_dir():
            if os.environ.get("CI"):
                pytest.fail(
                    "Node or tests/oidc_node/node_modules is missing; `npm ci` in tests/oidc_node makes the latter"
                )
            pytest.skip("needs Node, and `npm ci` in tests/oidc_node")
        wish = {
            "port": self.port, "client_id": CLIENT, "client_secret": SECRET, "accounts": ACCOUNTS, "amr": self.amr, "key": self.key,
            "redirect_uri": f"{self.stack.api}/auth/oidc/{self.name}/callback",
        }  # fmt: skip
        environ = {**os.environ, "PROVIDER": json.dumps(wish)}
        self.process = subprocess.Popen(
            [node, "provider.mjs"], cwd=NODE, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line == "ready\n":
                return
        pytest.fail(f"the provider did not start:\n{''.join(said)}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def come_back(self, browser: Browser, who: str) -> str:
        """Leave for the provider as `who` and return: the address of the callback, with its code, not yet called."""
        url, _ = begin(browser, self.stack.api, self.name)
        return self.away(browser, url, who)

    def away(self, browser: Browser, url: str, who: str) -> str:
        """The same from the address that one was sent to."""
        return browser.follow(f"{url}&login_hint={who}", self.stack.api)

    def sign_in(self, who: str, browser: Browser | None = None) -> Answer:
        """Everything, as a person's browser does it."""
        browser = browser or Browser()
        return browser.get(self.come_back(browser, who))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as it:
        return it.getsockname()[1]


@contextmanager
def real(stack: Stack, name: str, **options: Any) -> Iterator[Real]:
    """A provider for the length of a block."""
    it = Real(stack, name, free_port(), **options)
    it.start()
    try:
        yield it
    finally:
        it.stop()


async def register(
    stack: Stack, name: str, issuer: str, *, domains: tuple[str, ...] = (), link: Link = Link.INVITATION
) -> None:
    """Have the installation know a provider."""
    async with stack.world() as world:
        await providers.add(world.envs["test"], New(name, issuer, CLIENT, SECRET, domains, link))


# --------------------------------------------------------------------------------------------------- the hand-made one

Token = Callable[["Issuer", dict[str, Any]], str]


@dataclass
class Issuer:
    """A provider whose tokens are made by hand.  `token` makes them from the claims that would be right."""

    port: int = 0
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"}))
    curve: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"}))
    token: Token = field(default=lambda it, claims: it.signed(claims))
    nonces: dict[str, str] = field(default_factory=dict)  # code -> the nonce that belongs to it
    asked: list[str] = field(default_factory=list)
    configuration: dict[str, Any] = field(default_factory=dict)
    published: list[dict[str, Any]] | None = None
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    subject: str = "hand-1"
    claims: dict[str, Any] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keys(self) -> list[dict[str, Any]]:
        if self.published is not None:
            return self.published
        return [self.key.as_dict(private=False), self.curve.as_dict(private=False)]

    def right(self, nonce: str) -> dict[str, Any]:
        """The claims of a token that is to be believed."""
        now = int(time.time())
        return {
            "iss": self.issuer, "sub": self.subject, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.claims,
        }  # fmt: skip

    def signed(self, claims: dict[str, Any], *, alg: str = "RS256", key: Any = None, **header: Any) -> str:
        chosen = key or (self.key if alg == "RS256" else self.curve)
        return jws.serialize_compact(
            {"alg": alg, "kid": chosen.kid, **header}, json.dumps(claims), chosen, algorithms=[alg]
        )

    def reply(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        made: dict[str, Any] = {}
        if path == "/.well-known/openid-configuration":
            made = {
                "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks", **self.configuration,
            }  # fmt: skip
        elif path == "/jwks":
            made = {"keys": self.keys()}
        elif path == "/token":
            nonce = self.nonces.get(form.get("code", ""), "")
            made = {"access_token": "a", "token_type": "Bearer", "id_token": self.token(self, self.right(nonce))}
        return 200, {"Content-Type": "application/json"}, json.dumps(made).encode()


@contextmanager
def by_hand(**options: Any) -> Iterator[Issuer]:
    """A hand-made provider for the length of a block."""
    it = Issuer(**options)

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
            status, headers, body = it.reply(urlsplit(self.path).path, {k: v[0] for k, v in form.items()})
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    it.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def segment(part: Any) -> str:
    """A part of a token."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(claims: dict[str, Any]) -> str:
    """A token that nobody signed."""
    return f"{segment({'alg': 'none'})}.{segment(claims)}."


def signed_with_public_key(it: Issuer, claims: dict[str, Any]) -> str:
    """HS256 with the provider's public key for a secret: what a verifier takes that lets the token choose the algorithm."""
    head = f"{segment({'alg': 'HS256', 'kid': it.key.kid})}.{segment(claims)}"
    public = it.key.as_pem(private=False)
    return f"{head}.{segment(hmac.new(public, head.encode(), hashlib.sha256).digest())}"
