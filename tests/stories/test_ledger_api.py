"""The book through HTTP: accounts of one's own, journals in bulk, statements; and nobody posts to what is not his."""

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from guilder.core import ids
from guilder.merchants import keys as making
from stack import Shop, Stack

pytestmark = pytest.mark.anyio
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
async def shop(anyio_backend: object, stack: Stack) -> Shop:
    return await stack.merchant("Ledger")


@pytest.fixture
def ask(shop: Shop) -> Ask:
    async def call(method: str, path: str, body: Any = None, *, key: str = shop.key, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with aiohttp.ClientSession() as session, session.request(
            method, shop.stack.api + path, json=body, headers=sent
        ) as answer:  # fmt: skip
            return answer.status, await answer.json()

    return call


def move(key: str, debit: str, credit: str, units: int, asset: str = "point", **more: Any) -> dict[str, Any]:
    return {"key": key, "transfers": [{"debit": debit, "credit": credit, "units": units, "asset": asset}], **more}


async def opened(ask: Ask, name: str, **more: Any) -> dict[str, Any]:
    status, account = await ask("POST", "/v1/ledger/accounts", {"code": f"x:{name}", "asset": "point", **more})
    assert status == 200, account
    return account


async def test_a_thousand_journals_in_one_call_with_an_answer_each(ask: Ask) -> None:
    bank = await opened(ask, "bank", unlimited=True, normal="debit")
    alice = await opened(ask, "alice")
    assert (alice["balance"], alice["floor"], bank["floor"]) == (0, 0, None)
    journals = [move(f"in:{n}", "x:bank", "x:alice", 1) for n in range(998)]
    journals += [move("in:0", "x:bank", "x:alice", 2), move("out", "x:alice", "x:bank", 5000)]

    status, posting = await ask("POST", "/v1/ledger/journals", {"journals": journals}, Idempotency_Key="bulk")

    assert status == 200
    assert "answers" in posting, posting
    assert [a["code"] for a in posting["answers"]] == ["created"] * 998 + [
        "exists_with_different_amount",
        "insufficient_funds",
    ]
    status, again = await ask("POST", "/v1/ledger/journals", {"journals": journals[-2:]})
    assert [(a["code"], a["was"]) for a in again["answers"]] == [("exists_with_different_amount", None), ("already_refused", "insufficient_funds")]  # fmt: skip
    assert (await ask("POST", "/v1/ledger/journals", {"journals": journals}, Idempotency_Key="bulk")) == (200, posting)
    _, now = await ask("GET", f"/v1/ledger/accounts/{alice['id']}")
    assert (now["balance"], now["available"]) == (998, 998)


async def test_holds_and_groups_and_the_statement_of_it_all(ask: Ask) -> None:
    shop_account, bob = await opened(ask, "till"), await opened(ask, "bob")
    await opened(ask, "bank", unlimited=True, normal="debit")
    hold = ids.show("hd", ids.new_id())
    of_bob = {"account": "x:bob", "asset": "point"}
    _, posting = await ask("POST", "/v1/ledger/journals", {"journals": [
        move("bob:in", "x:bank", "x:bob", 100),
        {"key": "bob:hold", "holds": [{**of_bob, "id": hold, "units": 60}]},
        move("bob:too-much", "x:bob", "x:till", 41),
        {"key": "bob:take", "captures": [{"hold": hold, "debit": "x:bob", "credit": "x:till", "asset": "point", "units": 25}]},
        move("bob:a", "x:bob", "x:till", 1, group="g"), move("bob:b", "x:bob", "x:till", 500, group="g"),
        {"key": "bob:rest", "releases": [{**of_bob, "hold": hold}]},
    ]})  # fmt: skip
    assert "answers" in posting, posting
    assert [a["code"] for a in posting["answers"]] == [
        "created", "created", "insufficient_funds", "created", "linked_refused", "insufficient_funds", "created",
    ]  # fmt: skip

    lines, after = [], ""
    while True:
        _, page = await ask("GET", f"/v1/ledger/accounts/{bob['id']}/lines?limit=2{after}")
        lines += page["data"]
        if not page["has_more"]:
            break
        after = f"&starting_after={lines[-1]['id']}"
    assert [(x["kind"], x["units"], x["balance"], x["held"]) for x in lines] == [
        ("move", 100, 100, 0), ("hold", 60, 100, 60), ("capture", -25, 75, 35), ("rest", -35, 75, 0),
    ]  # fmt: skip
    _, till = await ask("GET", f"/v1/ledger/accounts/{shop_account['id']}")
    assert till["balance"] == 25
    status, journal = await ask("GET", f"/v1/ledger/journals/{posting['answers'][0]['journal']}")
    assert (status, journal["key"], journal["transfers"]) == (
        200, "bob:in", [{"kind": "move", "debit": "x:bank", "credit": "x:bob", "asset": "point", "units": 100}],
    )  # fmt: skip
    _, listed = await ask("GET", "/v1/ledger/journals?limit=3")
    assert [j["key"] for j in listed["data"]] == ["bob:rest", "bob:take", "bob:hold"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        (
            {"debit": "payable"},
            "journals[0][transfers][0][debit]",
        ),  # the chart's accounts are posted to by payments alone
        ({"credit": "receivable:a"}, "journals[0][transfers][0][credit]"),
        ({"units": 0}, "journals[0][transfers][0][units]"),
        ({"units": 1.5}, "journals[0][transfers][0][units]"),
        ({"asset": "xyz"}, "journals[0][transfers][0][asset]"),
        ({"kind": "hold"}, "journals[0][transfers][0][kind]"),
        ({"note": "no such"}, "journals[0][transfers][0][note]"),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_name(ask: Ask, change: dict[str, Any], param: str) -> None:
    wrong = move("wrong", "x:a", "x:b", 1)
    wrong["transfers"][0] |= change
    status, answer = await ask("POST", "/v1/ledger/journals", {"journals": [wrong]})
    assert (status, answer["error"]["param"]) == (400, param)


async def test_accounts_are_the_merchants_own_and_scopes_are_needed(ask: Ask, shop: Shop, stack: Stack) -> None:
    mine = await opened(ask, "mine")
    other = await stack.merchant("Other")
    async with stack.world() as world:
        reader = await world.control.transact(lambda tx: making.make(tx, shop.book_id, "test", "rk", ("ledger:read",)))
    journals = {"journals": [move("k", "x:mine", "x:bank", 1)]}

    assert (await ask("GET", f"/v1/ledger/accounts/{mine['id']}", key=other.key))[0] == 404
    assert (await ask("GET", f"/v1/ledger/accounts/{mine['id']}", key=reader.secret))[0] == 200
    assert (await ask("POST", "/v1/ledger/journals", journals, key=reader.secret))[0] == 403
    _, posting = await ask("POST", "/v1/ledger/journals", journals, key=other.key)
    assert posting["answers"][0]["code"] == "account_not_found"
    status, answer = await ask("POST", "/v1/ledger/accounts", {"code": "x:mine", "asset": "point", "normal": "debit"})
    assert (status, answer["error"]["param"]) == (400, "code")
    too_many = {"journals": [move(str(n), "x:mine", "x:bank", 1) for n in range(1001)]}
    status, answer = await ask("POST", "/v1/ledger/journals", too_many)
    assert (status, answer["error"]["param"]) == (400, "journals")
