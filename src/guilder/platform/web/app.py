"""The API as an ASGI application: from a request's bytes to a handler, and from its answer, or its error, to bytes.

    app = build(ROUTES, authenticate=authenticate, resources=RESOURCES)

Order of refusals: no such path (404), no such method on it (405, with Allow), no key (401), not allowed to (403), headers,
body (413, 415), parameters (400).  Whatever happens, the caller gets the envelope and a Request-Id; what nobody foresaw
is logged with its traceback and answered as a 500 that says nothing about it.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import Lifespan, Receive, Scope, Send

from guilder.core.check import must
from guilder.core.errors import Forbidden, GuilderError, Invalid, NotFound, Rejected
from guilder.core.ids import new_id, show
from guilder.platform.web import openapi, reference
from guilder.platform.web.answer import encode, render_error
from guilder.platform.web.call import VERSION, Answer, Call, Principal
from guilder.platform.web.expand import Expander, Resource, Tree
from guilder.platform.web.form import read_form, read_json
from guilder.platform.web.params import Expand, Params, Reader, reader
from guilder.platform.web.route import Route, Table

logger = logging.getLogger(__name__)

JSON, FORM = "application/json", "application/x-www-form-urlencoded"

Authenticate = Callable[[Mapping[str, str]], Awaitable[Principal]]


class MethodNotAllowed(Rejected):
    """This method is not allowed here."""

    status = 405
    code = "method_not_allowed"


class TooLarge(Rejected):
    """The request body is larger than this call takes: 256 kB, of attachments more."""

    status = 413
    code = "request_too_large"


class UnsupportedMedia(Rejected):
    """Send the parameters as application/x-www-form-urlencoded or application/json."""

    status = 415
    code = "content_type_unsupported"


class Gone(Exception):
    """The caller hung up; there is nobody to answer."""


class Operation:
    """A route with its readers compiled."""

    __slots__ = ("form", "json", "route", "takes_params")

    def __init__(self, route: Route) -> None:
        kind = route.body or route.query or Params
        self.route = route
        self.takes_params = kind is not Params
        self.form: Reader = reader(kind, form=True)
        self.json: Reader = reader(kind, form=False)


class Api:
    """All operations: one walk finds the path, whatever their number."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        authenticate: Authenticate,
        expander: Expander,
        pages: Mapping[str, tuple[str, bytes]],
        nobody: Principal | None,
        begin: Callable[[Call], object] | None,
        observe: Callable[[Call, str, int, float], None] | None,
    ) -> None:
        self._table = Table(routes)
        self._operations = {id(r): Operation(r) for r in routes}
        self._authenticate = authenticate
        self._nobody = nobody
        self._expander = expander
        self._pages = pages
        self._begin = begin
        self._observe = observe

    def takes(self, scope: Scope) -> bool:
        """Whether this path is the API's."""
        return scope["type"] == "http" and (scope["path"].startswith("/v1/") or scope["path"] in self._pages)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        call = _call(scope)
        name = "none"
        try:
            if page := self._pages.get(call.target):
                if call.method != "GET":
                    raise MethodNotAllowed(f"Only GET is allowed on {call.target}.")
                await _send(send, scope, call, Answer(200, page[1], {"Content-Type": page[0], **PAGE_HEADERS}))
                return
            route, call.path = self._route(call)
            name = route.operation_id
            answer = await self._answer(self._operations[id(route)], call, scope, receive)
        except GuilderError as error:
            answer = render_error(error)
            if isinstance(error, MethodNotAllowed):
                answer.headers = {**answer.headers, "Allow": self._allow(call.target)}
            elif isinstance(error, TooLarge):
                answer.headers = {**answer.headers, "Connection": "close"}
        except Gone:
            return
        except Exception:
            logger.exception("unforeseen error", extra={"request_id": call.request_id})
            answer = render_error(
                GuilderError("An unknown error occurred on our side. Tell us the Request-Id of this answer.")
            )
        if self._observe is not None:
            self._observe(call, name, answer.status, time.perf_counter() - started)
        await _send(send, scope, call, answer)

    def _route(self, call: Call) -> tuple[Route, dict[str, str]]:
        found = self._table.find(call.target)
        if found is None:
            raise _unrecognized(call)
        methods, path = found
        route = methods.get(call.method)
        if route is None:
            raise MethodNotAllowed(f"The method {call.method} is not allowed on {call.target}.")
        return route, path

    def _allow(self, target: str) -> str:
        if target in self._pages:
            return "GET, HEAD"
        found = self._table.find(target)
        methods = set(found[0]) if found else set()
        return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))

    async def _answer(self, operation: Operation, call: Call, scope: Scope, receive: Receive) -> Answer:
        route = operation.route
        call.principal = self._nobody
        if route.scope is not None:
            call.principal = await self._authenticate(call.headers)
            call.only_own = route.scope not in call.principal.scopes
            if call.only_own and not (route.own and route.scope in call.principal.own):
                raise _forbidden(call, route.scope)
            if route.platform and not call.principal.at_platform:
                raise Forbidden("This concerns every account: it wants a role at the platform, and no Stripe-Account.")
        call.read_headers()
        if self._begin is not None:
            self._begin(call)
        params = await self._params(operation, call, scope, receive)
        tree = self._expander.plan(route.answer, call.expand) if call.expand else None
        answer = await (route.handler(call, params) if operation.takes_params else route.handler(call))
        rendered = answer if isinstance(answer, Answer) else Answer(200, encode(answer))
        return rendered if tree is None or rendered.status != 200 else await self._expanded(call, rendered, tree)

    async def _expanded(self, call: Call, answer: Answer, tree: Tree) -> Answer:
        """`answer` with its ids expanded; byte for byte the same if they are already, as in a replay."""
        plain = msgspec.json.decode(answer.body)
        if not await self._expander.fill(call, plain, tree):
            return answer
        body = encode(plain)
        if call.on_expanded is not None:
            await call.on_expanded(body)
        return Answer(answer.status, body, answer.headers)

    async def _params(self, operation: Operation, call: Call, scope: Scope, receive: Receive) -> Any:
        form = True
        query: bytes = scope["query_string"]
        if call.method == "POST":
            if query:
                name = next(iter(read_form(query)), "?")
                raise Invalid(f"Parameters of a POST belong in its body: {name}", code="parameter_unknown", param=name)
            raw = await _body(call, receive, operation.route.max_body)
            kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
            form = kind != JSON
            if raw and kind not in (JSON, FORM):
                raise UnsupportedMedia
            tree = read_form(raw) if form or not raw else read_json(raw)
        else:
            tree = read_form(query)
        if "expand" in tree:
            call.expand = tuple(reader(Expand, form=form)(tree.pop("expand"), "expand"))
        params = (operation.form if form else operation.json)(tree, "")
        call.given(params)
        return params


class _Front(Starlette):
    """Starlette for all but the API, which answers its own errors and needs none of the layers in between."""

    def __init__(self, api: Api, *, routes: Sequence[BaseRoute], lifespan: Lifespan[Starlette] | None) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._api.takes(scope):
            await self._api.handle(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


PAGE_HEADERS = {
    "Cache-Control": "public, max-age=300",
    "Content-Security-Policy": reference.POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def _call(scope: Scope) -> Call:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    method = scope["method"]
    client = scope.get("client")
    return Call(
        "GET" if method == "HEAD" else method,
        scope["path"],
        headers=headers,
        remote_ip=client[0] if client else "",
        request_id=show("req", new_id()),
    )


def _forbidden(call: Call, scope: str) -> Forbidden:
    if call.principal.names_account:
        return Forbidden(f"You may not do this here: none of your roles allows {scope}.")
    return Forbidden(f"This key may not do this: it lacks the scope {scope}.")


def _unrecognized(call: Call) -> NotFound:
    return NotFound(f"Unrecognized request URL ({call.method}: {call.target}).", code="url_unrecognized")


async def _body(call: Call, receive: Receive, most: int) -> bytes:
    """The whole body.  TooLarge or Gone."""
    length = call.headers.get("content-length")
    if length == "0" or (length is None and "transfer-encoding" not in call.headers):
        return b""
    if length is not None and int(length) > most:
        raise TooLarge
    chunks: list[bytes] = []
    size, more = 0, True
    while more:  # the server sees to it that this ends in time
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise TooLarge
        chunks.append(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


_VERSION = (b"stripe-version", VERSION.encode())
_JSON_HEADERS = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


async def _send(send: Send, scope: Scope, call: Call, answer: Answer) -> None:
    body = answer.body
    headers = [
        (b"request-id", call.request_id.encode()),
        _VERSION,
        (b"content-length", str(len(body)).encode()),
    ]
    if call.idempotency_key is not None:
        headers.append((b"idempotency-key", call.idempotency_key.encode()))
    if answer.headers:
        headers.extend(
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()
        )
        own = {name for name, _ in headers}
        headers.extend(header for header in _JSON_HEADERS if header[0] not in own)
    else:
        headers.extend(_JSON_HEADERS)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Starlette found no route at all."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
        return
    call = _call(scope)
    await _send(send, scope, call, render_error(_unrecognized(call)))


def build(
    routes: Sequence[Route],
    *,
    authenticate: Authenticate,
    resources: Sequence[Resource] = (),
    others: Sequence[BaseRoute] = (),
    lifespan: Lifespan[Starlette] | None = None,
    nobody: Principal | None = None,
    begin: Callable[[Call], object] | None = None,
    observe: Callable[[Call, str, int, float], None] | None = None,
    title: str = "Guilder",
    release: str = "0.0.1",
    description: str = "",
) -> Starlette:
    """The application: the API under /v1/, /openapi.json, /reference, and `others` (pages, callbacks, health) beside it.

    `authenticate(headers) -> Principal` takes lower-case header names and raises Unauthenticated; `api_key(headers)` reads
    the key.  `nobody`: who calls what is open to everybody.  `begin(call)` runs once the caller is known, in the request's own task: what it puts into context variables
    holds for the handler.  `observe(call, operation_id, status, seconds)` is told of every answer.
    """
    names = [r.operation_id for r in routes]
    must(len(set(names)) == len(names), "two handlers share a name, and so an operation id")
    expander = Expander(resources)
    document = openapi.document(routes, expander, title=title, release=release, description=description)
    pages = {
        "/openapi.json": (JSON, msgspec.json.encode(document)),
        "/reference": ("text/html; charset=utf-8", reference.page(document).encode()),
    }
    api = Api(
        routes, authenticate=authenticate, expander=expander, pages=pages, nobody=nobody, begin=begin, observe=observe
    )
    app = _Front(api, routes=others, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = _nowhere
    return app
