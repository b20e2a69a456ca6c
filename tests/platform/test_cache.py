"""The cache: what was loaded before a change is not used a second after it, and nothing is while nobody can look."""

import asyncio
from dataclasses import dataclass

import pytest

from guilder.platform.db import Lost
from guilder.platform.environment import FRESH_S, POLL_S, Cache

pytestmark = pytest.mark.anyio


@dataclass
class Control:
    """A control database: a revision and a value, or away."""

    revision: int = 0
    value: str = "old"
    away: bool = False
    loads: int = 0

    async def look(self) -> int:
        if self.away:
            raise Lost("away")
        return self.revision

    async def load(self) -> str:
        self.loads += 1
        return self.value

    def change(self, value: str) -> None:
        self.revision, self.value = self.revision + 1, value


@pytest.fixture
def control() -> Control:
    return Control()


@pytest.fixture
def cache(control: Control) -> Cache:
    return Cache(control.look)


def time_passes(cache: Cache) -> None:
    """The last look at the revision is too long ago now."""
    cache._seen_at -= FRESH_S


async def test_a_value_is_loaded_once_per_revision(cache: Cache, control: Control) -> None:
    assert [await cache.get("k", control.load) for _ in range(5)] == ["old"] * 5
    assert control.loads == 1


def test_a_change_is_seen_within_a_second() -> None:
    assert FRESH_S < 1 and POLL_S < FRESH_S


async def test_an_old_value_is_used_no_longer_than_the_last_look(cache: Cache, control: Control) -> None:
    await cache.get("k", control.load)
    control.change("new")
    time_passes(cache)

    assert await cache.get("k", control.load) == "new"


async def test_who_follows_sees_a_change_sooner(cache: Cache, control: Control) -> None:
    await cache.get("k", control.load)
    following = asyncio.create_task(cache.follow())
    control.change("new")
    async with asyncio.timeout(FRESH_S):
        while await cache.get("k", control.load) != "new":
            await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_while_nobody_can_look_nothing_cached_is_used(cache: Cache, control: Control) -> None:
    await cache.get("k", control.load)
    control.away = True
    time_passes(cache)
    for _ in range(2):
        with pytest.raises(Lost):
            await cache.get("k", control.load)

    control.away = False
    assert await cache.get("k", control.load) == "old"


async def test_following_goes_on_when_the_database_was_away(cache: Cache, control: Control) -> None:
    control.away = True
    following = asyncio.create_task(cache.follow())
    await asyncio.sleep(0.01)
    control.away = False
    control.change("new")
    async with asyncio.timeout(5):
        while cache._revision != 1:
            await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_value_that_was_being_loaded_when_a_change_came_is_not_kept(cache: Cache, control: Control) -> None:
    loading, go = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        old = await control.load()
        loading.set()
        await go.wait()
        return old

    asking = asyncio.create_task(cache.get("k", slow))
    await loading.wait()
    control.change("new")
    await cache.refresh()
    go.set()

    assert await asking == "old"
    assert await cache.get("k", control.load) == "new"


async def test_however_many_want_it_at_once_it_is_asked_for_once(cache: Cache, control: Control) -> None:
    looks = 0

    async def look() -> int:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.01)
        return control.revision

    async def load() -> str:
        await asyncio.sleep(0.01)
        return await control.load()

    crowd = Cache(look)
    assert await asyncio.gather(*(crowd.get("k", load) for _ in range(500))) == ["old"] * 500
    assert (looks, control.loads) == (2, 1), "the first one's look began before the others asked"

    control.change("new")
    time_passes(crowd)
    assert await asyncio.gather(*(crowd.get("k", load) for _ in range(500))) == ["new"] * 500
    assert (looks, control.loads) == (4, 2)


async def test_who_asks_after_a_change_never_waits_for_a_look_or_a_load_from_before_it(control: Control) -> None:
    go = asyncio.Event()

    async def look() -> int:
        seen = control.revision
        await go.wait()
        return seen

    async def load() -> str:
        value = await control.load()
        await asyncio.sleep(0.02)
        return value

    crowd = Cache(look)
    before = asyncio.create_task(crowd.get("k", load))
    await asyncio.sleep(0.01)
    control.change("new")
    after = asyncio.create_task(crowd.get("k", load))
    await asyncio.sleep(0.01)
    go.set()
    assert await after == "new"
    assert await before in ("old", "new")
    assert await crowd.get("k", load) == "new"


async def test_whoever_gives_up_or_fails_takes_nobody_with_him(cache: Cache, control: Control) -> None:
    async def slow() -> str:
        await asyncio.sleep(0.02)
        return await control.load()

    first, second = (asyncio.create_task(cache.get("k", slow)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    assert await second == "old"

    async def broken() -> str:
        await asyncio.sleep(0.01)
        raise Lost("away")

    failed = await asyncio.gather(*(cache.get("b", broken) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in failed] == [Lost] * 3
    assert await cache.get("b", control.load) == "old"


async def test_it_does_not_grow_for_ever(cache: Cache, control: Control) -> None:
    for n in range(50_100):
        await cache.get(n, control.load)
    assert len(cache._values) <= 50_001
