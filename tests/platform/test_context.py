"""Context: one chain of work, wherever it is carried on."""

import asyncio

import pytest

from guilder.core import ids
from guilder.platform import context

pytestmark = pytest.mark.anyio


async def test_a_chain_is_minted_once_and_carried_on() -> None:
    first = context.mint(actor="key:1", env="test")
    with context.use(first):
        assert context.current() is first
        later = context.carry_on(context.current().root_id, actor="job:ask")
        with context.use(later):
            assert (context.current().root_id, context.current().actor, context.current().env) == (
                first.root_id,
                "job:ask",
                "",
            )
        assert context.current() is first


async def test_two_chains_are_two() -> None:
    assert context.mint().root_id != context.mint().root_id


async def test_tasks_do_not_see_each_others_chains() -> None:
    async def serve(n: int) -> str:
        context.enter(context.mint(actor=str(n)))
        await asyncio.sleep(0)
        return context.current().actor

    assert await asyncio.gather(*(asyncio.create_task(serve(n)) for n in range(5))) == list("01234")


async def test_what_was_used_is_left_even_by_an_error() -> None:
    with pytest.raises(ZeroDivisionError), context.use(context.mint(actor="a")):
        raise ZeroDivisionError
    before = context.peek()
    assert before is None or before.actor != "a"


async def test_looking_mints_nothing() -> None:
    async def looks() -> tuple[object, object]:
        context._current.set(None)
        return context.peek(), context.peek()

    assert await asyncio.create_task(looks()) == (None, None)


async def test_who_has_no_chain_begins_one_and_keeps_it() -> None:
    async def begins() -> bool:
        context._current.set(None)
        return context.current() is context.current() and context.current().root_id.version == ids.new_id().version

    assert await asyncio.create_task(begins())
