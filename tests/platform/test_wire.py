"""The wire, against real sockets: NotSent or Silence, journaled before it is sent, no secret in the journal."""

import asyncio
import hashlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest

from guilder.core import ids
from guilder.core.check import Impossible
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence
from guilder.platform import context, guard
from guilder.platform.batch import Lane, Limits
from guilder.platform.db import Database, Tx
from guilder.platform.environment import Env
from guilder.platform.health import Guard, Mood
from guilder.platform.journal_safe import without_persons
from guilder.platform.wire import About, Wire, write_messages
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def about() -> About:
    return About(ids.new_id(), ids.new_id(), "wechatpay", "create", ids.new_id())


def ask(*calls: HttpCall) -> Exchange[list[HttpReply | str]]:
    """Make the calls one after the other; what came of each."""
    heard: list[HttpReply | str] = []
    for call in calls:
        try:
            heard.append((yield call))
        except (NotSent, Silence) as fault:
            heard.append(type(fault).__name__)
    return heard


@asynccontextmanager
async def channel(serve: Serve) -> AsyncIterator[str]:
    """A channel whose every byte is the test's own; its address."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v3/pay"
    server.close()
    for writer in writers:
        writer.close()


async def request(reader: asyncio.StreamReader) -> bytes:
    """One whole request."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(size)


def answering(body: bytes, head: bytes = b"") -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), head, body))
            await writer.drain()

    return serve


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)


async def says_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"state":')
    await writer.drain()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not reader.at_eof():
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.02)


async def babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()


async def squeezes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!")
    await writer.drain()


@pytest.fixture
async def wire(env: Env) -> Wire:
    return env.wire


async def journal(wire: Wire, place: Place, what: About) -> list[dict[str, Any]]:
    await wire.settle()  # replies wait for company
    return await place.fetch(
        "SELECT * FROM platform.wire_message WHERE about = $1 ORDER BY at, direction DESC", what.about
    )


async def test_a_reply_is_returned_whole(wire: Wire, env: Env, place: Place) -> None:
    what = about()
    async with channel(answering(b'{"code_url":"weixin://1"}', b"Request-ID: 77\r\n")) as url:
        [reply] = await wire.carry_out(ask(HttpCall("POST", url, {"X-A": "b"}, b"{}")), what)

    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body, reply.headers["request-id"]) == (200, b'{"code_url":"weixin://1"}', "77")


@pytest.mark.parametrize(
    "serve",
    [resets, hangs_up, says_half, says_nothing, drips, babbles, squeezes, answering(b"x" * 5000)],
    ids=["reset", "hung up", "half a body", "timeout", "too slow", "not HTTP", "bad gzip", "too long"],
)
async def test_what_may_have_arrived_is_silence(wire: Wire, serve: Serve) -> None:
    async with channel(serve) as url:
        heard = await wire.carry_out(ask(HttpCall("POST", url, body=b"{}", timeout_s=0.25, max_bytes=4096)), about())

    assert heard == ["Silence"]


def guarded(env: Env, what: About, **guard: Any) -> None:
    env.health.set(
        what.channel_account_id, 1, Mood.CLOSED, paused=False, until=0, opens=0, guard=msgspec.convert(guard, Guard)
    )


async def test_how_long_an_answer_is_waited_for_is_the_accounts_guard(wire: Wire, env: Env) -> None:
    what = about()
    guarded(env, what, timeouts={"create": 0.2})
    begun = time.monotonic()
    async with channel(says_nothing) as url:
        heard = await wire.carry_out(ask(HttpCall("POST", url, body=b"{}", timeout_s=30)), what)

    assert heard == ["Silence"] and time.monotonic() - begun < 5


async def test_more_at_once_than_an_account_takes_is_not_sent_and_says_nothing_of_the_channel(
    wire: Wire, env: Env, place: Place
) -> None:
    what = about()
    guarded(env, what, concurrency=1)
    async with channel(says_nothing) as url:
        calls = [wire.carry_out(ask(HttpCall("POST", url, body=b"{}", timeout_s=0.5)), what) for _ in range(3)]
        heard = sorted(str(one) for [one] in await asyncio.gather(*calls))

    assert heard == ["Held", "Held", "Silence"], "Held is a NotSent, to every adapter"
    assert env.health.total(what.channel_account_id, "create").calls == 1
    outcomes = [m["outcome"] for m in await journal(wire, place, what) if m["direction"] == "in"]
    assert sorted(outcomes) == ["not_sent", "not_sent", "silence"]


async def test_each_exchange_counts_for_the_health_of_its_account(wire: Wire, env: Env) -> None:
    good, silent, away = about(), about(), about()
    async with channel(answering(b"{}")) as url:
        await wire.carry_out(ask(HttpCall("POST", url), HttpCall("POST", url)), good)
    async with channel(hangs_up) as url:
        await wire.carry_out(ask(HttpCall("POST", url)), silent)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    await wire.carry_out(ask(HttpCall("POST", f"http://127.0.0.1:{port}/")), away)

    def seen(what: About) -> tuple[int, int]:
        sums = env.health.total(what.channel_account_id, "create")
        return sums.good, sums.bad

    assert (seen(good), seen(silent), seen(away)) == ((1, 0), (0, 1), (0, 1))


async def test_nobody_listening_is_not_sent(wire: Wire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    calls = [
        HttpCall("POST", url, timeout_s=2)
        for url in (f"http://127.0.0.1:{port}/", "http://no-such-host.invalid/", "http://[::1]:1/")
    ]

    assert await wire.carry_out(ask(*calls), about()) == ["NotSent"] * 3


async def test_a_channel_that_does_not_speak_tls_was_told_nothing(wire: Wire) -> None:
    async with channel(babbles_at_once) as url:
        heard = await wire.carry_out(
            ask(HttpCall("POST", url.replace("http:", "https:"), body=b"secret", timeout_s=2)), about()
        )

    assert heard == ["NotSent"]


async def babbles_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"no tls here\r\n")
    await writer.drain()
    seen = await reader.read(1000)
    assert b"secret" not in seen


async def test_a_kept_connection_that_the_channel_closed_is_silence_and_asked_once(wire: Wire) -> None:
    """We cannot prove that it had not read; and a repeated GET would be a call that no line of the journal tells of."""
    seen = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        await request(reader)
        seen += 1

    async with channel(once) as url:
        heard = await wire.carry_out(ask(HttpCall("GET", url), HttpCall("GET", url)), about())

    assert (heard[1], seen) == ("Silence", 1)


async def test_it_follows_no_redirect_and_sends_what_was_signed(wire: Wire) -> None:
    seen: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with channel(elsewhere) as url:
        [reply] = await wire.carry_out(
            ask(HttpCall("POST", url + "?a=%2F+%E8%8C%B6&b=%7e", {}, '{"茶": 1}'.encode())), about()
        )

    assert isinstance(reply, HttpReply) and reply.status == 302
    assert seen[0].startswith(b"POST /v3/pay?a=%2F+%E8%8C%B6&b=%7e HTTP/1.1\r\n")
    assert seen[0].endswith('{"茶": 1}'.encode())


async def test_a_call_is_journaled_before_it_is_sent(wire: Wire, env: Env, place: Place) -> None:
    what, arrived, go = about(), asyncio.Event(), asyncio.Event()

    async def thinks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        arrived.set()
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    root = ids.new_id()
    async with channel(thinks) as url:
        with context.use(context.carry_on(root)):
            asking = asyncio.create_task(wire.carry_out(ask(HttpCall("POST", url, body=b"{}")), what))
        await arrived.wait()
        [out] = await journal(wire, place, what)
        assert (out["direction"], out["method"], out["url"], out["body"], out["root_id"]) == (
            "out",
            "POST",
            url,
            b"{}",
            root,
        )
        go.set()
        await asking
    _, reply = await journal(wire, place, what)
    assert (reply["direction"], reply["status"], reply["outcome"], reply["body"]) == ("in", 200, "reply", b"ok")
    assert (reply["exchange_id"], reply["root_id"]) == (out["exchange_id"], root)


async def test_faults_are_journaled_too(wire: Wire, env: Env, place: Place) -> None:
    what = about()
    async with channel(hangs_up) as url:
        await wire.carry_out(ask(HttpCall("POST", url), HttpCall("POST", "http://127.0.0.1:1/")), what)

    assert [r["outcome"] for r in await journal(wire, place, what) if r["direction"] == "in"] == ["silence", "not_sent"]


async def test_no_secret_and_no_person_is_in_the_journal(wire: Wire, env: Env, place: Place) -> None:
    what = about()
    call_body = b'{"payer":{"openid":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},"amount":{"total":1}}'
    reply_body = b'{"buyer_logon_id":"159****5620", "buyer_user_id" : "2088101117955611","trade_no":"2013"}'
    headers = {
        "Authorization": "WECHATPAY2-SHA256-RSA2048 signature=CANARY",
        "Cookie": "CANARY",
        "Content-Type": "application/json",
    }
    async with channel(answering(reply_body, b"Set-Cookie: CANARY\r\n")) as url:
        await wire.carry_out(
            ask(HttpCall("POST", url + "?a=1&app_auth_token=CANARY&sign=CANARY&b=2", headers, call_body)), what
        )
    form = b"gmt_create=2015&buyer_logon_id=159****5620&buyer_id=2088101117955611&total_amount=1.00"
    wire.hear(what, {"content-type": "application/x-www-form-urlencoded", "authorization": "CANARY"}, form, "stored")

    kept = await journal(wire, place, what)
    text = repr(kept)
    for secret in ("CANARY", "oUpF8", "159****", "2088101117955611"):
        assert secret not in text
    assert '"total":1' in text and '"trade_no":"2013"' in text and "total_amount=1.00" in text, "and the rest is"
    assert kept[0]["url"].endswith("?a=1&app_auth_token=[removed]&sign=[removed]&b=2")


@pytest.mark.parametrize(
    "body",
    [
        rb'{"user_name":"Lin \"CANARY\" Zhao","trade_no":"2013"}',
        b'\n {"payer":{"sub_openid":"CANARY"},"trade_no":"2013"}',
        b"buyer_open_id=CANARY&trade_no=2013",
        b"accNo=CANARY&customerInfo=CANARY%3D&trade_no=2013",
        b"respMsg=\xe6\x88\x90[0000000]&trade_no=2013&accNo=CANARY",
        b"qrNo=CANARY&trade_no=2013",
        b'{"client_secret": "pi_1_secret_CANARY", "trade_no": "2013"}',
        b'{"payer":{"auth_code":"CANARY"},"real_name":"CANARY","bank_account":"CANARY","trade_no":"2013"}',
        b'{"access_token":"CANARY","refresh_token":"CANARY","openid":"CANARY","trade_no":"2013"}',
        b"biz_content=%7B%22auth_code%22%3A%22CANARY%22%2C%22trade_no%22%3A%222013%22%7D",
        b"biz_content=%7B%22op_buyer_open_id%22%3A+%22CANARY%22%2C%22trade_no%22%3A%222013%22%7D",
        b"biz_content=%7B%22payee_info%22%3A%7B%22identity%22%3A%22CANARY%22%2C%22name%22%3A%22%E6%9E%97+%5C%22CANARY%22%7D%2C%22trade_no%22%3A%221%22%7D",
        b"grant_type=authorization_code&code=CANARY&trade_no=2013",
        b'{"x":{"user_id":"CANARY","open_id": "CANARY","access_token":"CANARY"},"trade_no":"2013","code":"10000"}',
    ],
)
def test_persons_are_removed_however_they_are_written(body: bytes) -> None:
    kept = without_persons(body)
    assert b"CANARY" not in kept and b"Zhao" not in kept and b"trade_no" in kept


async def test_of_a_channels_file_the_journal_keeps_what_proves_it(wire: Wire, env: Env, place: Place) -> None:
    """A bill names its payers line by line; it lies whole in its statement."""
    what = msgspec.structs.replace(about(), op="statement")
    async with channel(answering(b"`oUpF8uMuAJO_M2pxb1Q9zNjWeS6o,`1.00")) as url:
        [reply] = await wire.carry_out(ask(HttpCall("GET", url)), what)

    assert isinstance(reply, HttpReply) and reply.body.endswith(b"1.00")
    digest = hashlib.sha256(reply.body).hexdigest()
    assert (await journal(wire, place, what))[1]["body"] == f"[a file of 35 bytes, SHA-256 {digest}]".encode()


async def test_the_journal_keeps_the_beginning_of_a_long_body(wire: Wire, env: Env, place: Place) -> None:
    what = about()
    async with channel(answering(b"x" * 200_000)) as url:
        [reply] = await wire.carry_out(ask(HttpCall("GET", url)), what)

    assert isinstance(reply, HttpReply) and len(reply.body) == 200_000
    assert len((await journal(wire, place, what))[1]["body"]) == 65_536


async def test_nobody_is_called_inside_a_transaction(wire: Wire, env: Env) -> None:
    async def work(tx: Tx) -> None:
        await wire.carry_out(ask(HttpCall("POST", "http://127.0.0.1:1/")), about())

    with pytest.raises(Impossible, match="outside"):
        await env.db.transact(work)


async def test_what_the_channel_said_counts_even_if_the_journal_is_full(db: Database) -> None:
    lane: Lane[Any, Any] = Lane(db, "wire", write_messages, limits=Limits(lanes=1))
    wire, what = Wire(lane, loopback=True), about()

    async def fills(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npaid")
        await writer.drain()

    async with channel(fills) as url:
        asking = asyncio.create_task(wire.carry_out(ask(HttpCall("POST", url)), what))
        while not lane._queues[0]:
            await asyncio.sleep(0)
        lane._limits = Limits(lanes=1, queue=0)
        [reply] = await asking

    assert isinstance(reply, HttpReply) and reply.body == b"paid"
    await wire.close()
    await lane.idle()


async def test_the_journal_is_written_once(wire: Wire, place: Place) -> None:
    await wire.carry_out(ask(HttpCall("POST", "http://127.0.0.1:1/")), about())
    async with place.connect("app") as app:
        for statement in ("UPDATE platform.wire_message SET body = NULL", "DELETE FROM platform.wire_message"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npaid")
    await writer.drain()


@pytest.mark.parametrize("host", ["127.0.0.1", "pay.example.com"])
@pytest.mark.parametrize("opened", ["", "10.20.0.0/16", "127.0.0.0/8"])
async def test_no_channel_lies_inside_but_where_the_operator_says_so(db: Database, host: str, opened: str) -> None:
    """Whoever adds a contract says where its channel is: by an address, or by a name whose address it turns later."""
    lane: Lane[Any, Any] = Lane(db, "wire", write_messages, limits=Limits(lanes=1))

    async def here(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    wire = Wire(lane, loopback=False, inside=guard.networks(opened), look_up=here)
    async with channel(answers) as url:
        [said] = await wire.carry_out(ask(HttpCall("GET", url.replace("127.0.0.1", host))), about())
    await wire.close()
    if opened.startswith("127"):
        assert isinstance(said, HttpReply) and said.body == b"paid"
    else:
        assert said == "NotSent", "and so nothing is unknown"


@pytest.mark.parametrize(("name", "reached"), [("test", True), ("live", False)])
async def test_simulators_are_on_this_machine_and_live_channels_are_not(env: Env, name: str, reached: bool) -> None:
    one = Env(name, env.settings, env.db, env.control, env.keyring, env.cache)
    async with channel(answers) as url:
        [said] = await one.wire.carry_out(ask(HttpCall("GET", url)), about())
    await one.wire.close()
    assert isinstance(said, HttpReply) == reached
