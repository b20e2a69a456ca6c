"""More calls than can be served: who is turned away, with what, and for how long."""

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvloop
from starlette.applications import Starlette
from trial_shop import KEY, Shelf, shop

from guilder.core.errors import Busy
from guilder.platform.web.pressure import BEGIN_S, CROWD, GO_ON_S, Pressure
from guilder.platform.web.server import make

pytestmark = pytest.mark.timeout(60)
FORM = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/x-www-form-urlencoded"}


def behind(seconds: float, inside: int) -> Pressure:
    pressure = Pressure()
    pressure.inside = inside
    pressure.came(seconds)
    return pressure


def refuses(pressure: Pressure, *, begins: bool) -> bool:
    try:
        pressure.admit(begins=begins)
    except Busy:
        return True
    return False


def test_what_begins_something_is_turned_away_before_what_goes_on_with_it() -> None:
    some, more, most = (behind(s, CROWD + 1) for s in (BEGIN_S / 2, BEGIN_S * 1.1, GO_ON_S * 1.1))
    assert [refuses(p, begins=True) for p in (some, more, most)] == [False, True, True]
    assert [refuses(p, begins=False) for p in (some, more, most)] == [False, False, True]


def test_few_calls_are_no_crowd_on_a_slow_machine() -> None:
    assert not refuses(behind(30.0, CROWD), begins=True)


def test_it_is_over_a_moment_after_the_process_has_caught_up() -> None:
    pressure = behind(30.0, CROWD + 1)
    for _ in range(8):
        assert pressure.behind_s > 0.1
        pressure.came(0.001)
    assert not refuses(pressure, begins=True)


class Hog:
    """The shop behind a door that takes the process for 5 x 5 ms with each call: forty a second is all that it can do."""

    def __init__(self, inner: Starlette) -> None:
        self.inner = inner

    async def __call__(self, scope, receive, send):  # type: ignore[no-untyped-def]
        async def body():  # type: ignore[no-untyped-def]
            for _ in range(5):
                time.sleep(0.005)
                await asyncio.sleep(0)
            return await receive()

        await self.inner(scope, body, send)


@pytest.fixture
def hogged() -> Iterator[int]:
    """A port, where no more than forty calls a second can be served."""
    pressure, shelf = Pressure(), Shelf()
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = make(Hog(shop(shelf, pressure)), grace_s=1)

    async def serve() -> None:
        follower = asyncio.create_task(pressure.follow())
        await server.serve(sockets=[sock])
        follower.cancel()

    thread = threading.Thread(target=uvloop.run, args=(serve(),))
    thread.start()
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join()


def post(port: int, wait_s: float = 0.0) -> tuple[int, str | None, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=50)
    connection.connect()  # as clients do: callers keep their connections
    time.sleep(wait_s)
    connection.request("POST", "/v1/payment_intents", "amount=100&currency=cny", FORM)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, answer.headers["Stripe-Should-Retry"], body


def test_a_crowd_is_served_or_told_to_come_again_and_a_moment_later_all_is_well(hogged: int) -> None:
    said: list[tuple[int, str | None, dict[str, object]]] = []

    def caller(number: int) -> None:
        said.append(post(hogged, 3 + number / 100))

    crowd = [threading.Thread(target=caller, args=(n,)) for n in range(500)]  # a hundred a second
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert len(said) == len(crowd)
    print(f"{sum(status == 503 for status, _, _ in said)} of {len(said)} were turned away")
    assert {status for status, _, _ in said} == {200, 503}, "each is served whole, or not at all"
    for status, again, body in said:
        if status == 503:
            error = body["error"]
            assert again == "true"
            assert isinstance(error, dict)
            assert (error["type"], error["code"]) == ("api_error", "overloaded")
            assert "nothing was done" in error["message"]
    time.sleep(0.2)
    assert post(hogged)[0] == 200
