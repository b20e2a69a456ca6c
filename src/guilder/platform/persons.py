"""Persons: what is said of a payer in rows that are written once is encrypted under a key of his own, and is gone when the key is.

    shape = present.intent(face, i)
    private = take_out(i.person_id, shape, present.PERSONAL["payment_intent"])      # these fields of `shape` are blank from now on
    await outbox.say(tx, [Event(..., data=encode(shape), private=private)])

    recalled = await recall(db, rows)                        # of events: what was taken out of them
    await erase(tx, book_id, customer_id)

A person is a customer; or, of somebody who pays without being one, the payment.

    E1  What is taken out of an event lies in its `personal` alone, encrypted and bound to the event.
    E2  An erased key is used never again, and none is made in its place: what is said of an erased person later has blanks.
    E3  Whoever writes something personal holds the person's key until he commits: he comes before who erases, or he finds it erased.
    E4  What has nothing personal costs nothing: no statement, no key.
"""

import os
from collections.abc import Container, Iterable, Mapping, MutableMapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from guilder.core.check import must, never
from guilder.platform.crypto import Keyring, decrypt, encrypt
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
PersonKey = tuple[UUID, UUID]  # book id, person id
Keys = Mapping[PersonKey, bytes | None]  # None: erased
Blanks = Mapping[str, Any]  # personal fields of an object, and what stands in them when there is nothing


class Private(msgspec.Struct, frozen=True):
    """What was taken out of an event: whom it is about, and a `Said` as JSON."""

    person_id: UUID
    said: bytes


class Said(msgspec.Struct):
    """The personal fields of an event's `data`, and of its `previous`."""

    data: dict[str, Any] = {}
    previous: dict[str, Any] = {}


_said = msgspec.json.Decoder(Said).decode


def take_out(
    person_id: UUID, shape: msgspec.Struct, blanks: Blanks, previous: MutableMapping[str, Any] | None = None
) -> Private | None:
    """Blank what is personal in `shape`, and in `previous`; None: there was nothing."""
    data = {name: held for name, blank in blanks.items() if (held := getattr(shape, name)) != blank}
    for name in data:
        setattr(shape, name, blanks[name])
    before = {name: held for name, held in (previous or {}).items() if name in blanks}
    if previous is not None:
        previous.update(dict.fromkeys(before))
    return Private(person_id, msgspec.json.encode(Said(data, before))) if data or before else None


def put_back(data: str, previous: str | None, said: Said) -> tuple[str, str | None]:
    """`data` and `previous` of an event as they were."""
    if said.previous and previous is not None:
        previous = _together(previous, said.previous)
    return _together(data, said.data), previous


def blanked(value: Any, blanks: Mapping[str, Blanks]) -> bool:
    """Blank what is personal in every object of an answer; whether there was anything."""
    found = False
    if isinstance(value, dict):
        for name, blank in blanks.get(str(value.get("object")), {}).items():
            if value.get(name, blank) != blank:
                value[name], found = blank, True
    within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in within:
        found = blanked(part, blanks) or found
    return found


async def hold(tx: Tx, wanted: Iterable[PersonKey], new: Container[PersonKey] = ()) -> Keys:
    """(E3) The keys of these persons, until commit; who has none gets one.  `new`: nobody can know of them yet, nothing is looked up."""
    persons = sorted(set(wanted))
    if not persons:
        return {}
    keyring = _keyring(tx)
    known = [p for p in persons if p not in new]
    rows = await tx.rows(Q.hold_person_keys, *_columns(known)) if known else []
    keys = {(r["book_id"], r["id"]): _open(keyring, r) for r in rows}
    missing = [p for p in persons if p not in keys]
    if missing:
        made = {p: os.urandom(32) for p in missing}
        tx.write(Q.insert_person_keys, *_columns(missing), [keyring.seal(made[p], _about(p)) for p in missing])
        keys |= made
    return keys


def sealed(book_id: UUID, private: Private | None, event_id: UUID, keys: Keys) -> tuple[UUID | None, bytes | None]:
    """(E1) What an event keeps of what was taken out of it: whose, and encrypted; of an erased person nothing (E2)."""
    key = keys[book_id, private.person_id] if private is not None else None
    if private is None or key is None:
        return None, None
    return private.person_id, encrypt(key, private.said, event_id.bytes)


async def recall(source: Database | Tx, rows: Sequence[Row]) -> dict[UUID, Said]:
    """What was taken out of events, by their ids; nothing of persons who were erased."""
    private = [r for r in rows if r["personal"] is not None]
    if not private:
        return {}
    keyring = _keyring(source)
    found = await source.rows(Q.find_person_keys, [r["book_id"] for r in private], [r["person_id"] for r in private])
    keys = {(r["book_id"], r["id"]): _open(keyring, r) for r in found}
    recalled = {}
    for row in private:
        key, event_id = (
            keys.get((row["book_id"], row["person_id"])),
            row["event_id"] if "event_id" in row else row["id"],
        )
        if key is not None:
            recalled[event_id] = _said(decrypt(key, row["personal"], event_id.bytes))
    return recalled


async def erase(tx: Tx, book_id: UUID, id: UUID) -> bool:
    """(E2) Erase a person's key, whether or not there is one yet; False: it was erased before."""
    return await tx.value(Q.erase_person_key, book_id, id) is not None


async def erase_others(tx: Tx, book_id: UUID, persons: Sequence[UUID]) -> int:
    """Erase those keys that there are: of payments that became a customer's after something was said of them."""
    return len(await tx.rows(Q.erase_person_keys, book_id, list(persons)))


async def told(tx: Tx, book_id: UUID, persons: Sequence[UUID]) -> list[tuple[Row, Said]]:
    """Every event that has something personal of these persons, with it."""
    rows = await tx.rows(Q.find_events_of_persons, book_id, list(persons))
    recalled = await recall(tx, rows)
    return [(r, recalled[r["id"]]) for r in rows if r["id"] in recalled]


def _open(keyring: Keyring, row: Row) -> bytes | None:
    return None if row["sealed"] is None else keyring.open(row["sealed"], _about((row["book_id"], row["id"])))


def _about(person: PersonKey) -> str:
    return f"platform.person_key/{person[0]}/{person[1]}"


def _columns(persons: Sequence[PersonKey]) -> tuple[list[UUID], list[UUID]]:
    return [p[0] for p in persons], [p[1] for p in persons]


def _together(text: str, fields: Mapping[str, Any]) -> str:
    whole = msgspec.json.decode(text)
    must(isinstance(whole, dict), "what is said of an object is an object")
    return msgspec.json.encode({**whole, **fields}).decode()


def _keyring(source: Database | Tx) -> Keyring:
    if source.keyring is None:
        never("a database in which something personal is kept was opened with its keyring")
    return source.keyring
