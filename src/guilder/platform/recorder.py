"""What the platform itself knows of a story: requests, messages of channels, events, cases, approvals, and who did what."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.amount import Amount
from guilder.platform import timeline
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load
from guilder.platform.telemetry import redact
from guilder.platform.timeline import MOST, Entry, Part, Reader, Story, Thing, Tone

Q = load(__package__)
SEEN_BODY = 4000  # characters of a message that are shown
AROUND_S = (-5, 60)  # when a request or a chain of work says something first: seconds from its own id
_HEX = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?7[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_NAMES = (
    rb"client_secret|access_token|refresh_token|id_token|auth_code|authCode|qrNo|password|passwd|secret|api_key|paySign|"
    rb"order_string|account_number|bank_account|identity|cert_no|name_on_card|number|cvc"
)
_IN_JSON = re.compile(rb'("(?:' + _NAMES + rb')"\s*:\s*")(?:[^"\\]|\\.)*')
_IN_FORM = re.compile(rb"((?:^|&)(?:" + _NAMES + rb")=)[^&]*")
_audits: list[str] = []  # names of comparisons: cases of drift are under '<audit>: <thing>'


def know(audits: Sequence[str]) -> None:
    """The names of all comparisons; called once, by the composition root."""
    _audits[:] = sorted(set(audits))


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> Sequence[Thing | str]:
    """What an event, a request, a chain of work, a case, an approval or an entry of the trail is about."""
    named = timeline.whole(said, ("evt", "req", "case", "apr", "tra"))
    if named is None:
        root = _root(said)
        return [] if root is None else await _around(tx, books, root, "none", root)
    prefix, id = named
    if prefix == "req":
        return await _around(tx, books, id, said, UUID(int=0))
    query = {
        "evt": Q.story_of_event,
        "case": Q.story_of_case,
        "apr": Q.story_of_approval,
        "tra": Q.story_of_trail,
    }[prefix]
    return [r["subject"].rpartition(" ")[2] for r in await tx.rows(query, list(books), id) if r["subject"]]


def _root(said: str) -> UUID | None:
    """A chain of work, as answers show it and as log lines do."""
    if _HEX.fullmatch(said):
        return UUID(said)
    id = ids.parse(said)
    return id if id is not None and id.version == 7 else None


async def _around(tx: Tx, books: Sequence[UUID], id: UUID, request_id: str, root_id: UUID) -> list[Thing | str]:
    """What was said and done first by a request or chain of work: its id tells when that was, so no index is needed."""
    ms = id.int >> 80
    since, until = (UUID(int=max(0, ms + s * 1000) << 80) for s in AROUND_S)
    return [r["subject"] for r in await tx.rows(Q.story_around, list(books), since, until, request_id, root_id)]


async def gather(tx: Tx, story: Story) -> None:
    """The cases and approvals that are about the story's things, with the journals that decisions left."""
    names = [*story.names, *(f"{audit}: {name}" for audit in _audits for name in story.names)]
    for r in await tx.rows(Q.story_cases_and_approvals, list(story.books), names):
        story.add(Thing(r["book_id"], r["prefix"], r["id"]), root=r["root_id"])
        if r["journal_id"] is not None:
            story.journal_ids.add((r["book_id"], r["journal_id"]))


async def requests(tx: Tx, story: Story) -> list[Entry]:
    """The requests that had something said of the story's things, and what they were answered."""
    return [
        Entry(
            r["at"], "request", r["request_id"], _request(r), "bad" if (r["status"] or 200) >= 400 else "plain",
            {"idempotency_key": r["idempotency_key"], "status": r["status"], "types": r["types"]},
        )
        for r in await tx.rows(Q.story_requests, *story.scope(), MOST + 1)
    ]  # fmt: skip


def _request(r: Row) -> str:
    key = f" under the key {r['idempotency_key']}" if r["idempotency_key"] else ""
    answer = f", answered {r['status']}" if r["status"] else ""
    return f"request{key}{answer}; it led to {', '.join(dict.fromkeys(r['types']))}"


async def messages(tx: Tx, story: Story) -> list[Entry]:
    """What was said between channels and us, without secrets and persons."""
    return [
        Entry(
            r["at"], "message", story.who(r["about"]), _message(r), _tone(r),
            {
                "exchange": ids.text(r["exchange_id"]), "channel_account": ids.show("ca", r["channel_account_id"]), "operation": r["op"],
                "direction": r["direction"], "method": r["method"], "url": r["url"], "status": r["status"], "outcome": r["outcome"],
                "took_ms": r["took_ms"], "headers": None if r["headers"] is None else msgspec.json.decode(r["headers"]),
                "body": shown_body(r["body"]), "bytes": len(r["body"] or b""),
            },
        )
        for r in await tx.rows(Q.story_messages, *story.scope(), MOST + 1)
    ]  # fmt: skip


def _message(r: Row) -> str:
    if r["direction"] == "out":
        return f"{r['op']}: we ask {r['method'] or ''} {_path(r['url'])}"
    if r["method"] is not None:
        return f"{r['op']}: the channel calls us: {r['outcome']}"
    what = f"HTTP {r['status']}" if r["status"] else (r["outcome"] or "nothing")
    return f"{r['op']}: the channel answers {what}" + (f" after {r['took_ms']} ms" if r["took_ms"] is not None else "")


def _tone(r: Row) -> Tone:
    if r["outcome"] == "silence":
        return "wait"
    return "bad" if (r["status"] or 0) >= 400 or r["outcome"] in ("not_sent", "bad_signature") else "plain"


def _path(url: str | None) -> str:
    _, _, rest = (url or "").partition("://")
    return "/" + rest.partition("/")[2].partition("?")[0]


def shown_body(body: bytes | None) -> str | None:
    """A message's body as people see it: what could be used to pay, to sign or to get in is removed, the journal's own removals aside."""
    if body is None:
        return None
    pattern = _IN_JSON if body[:64].lstrip()[:1] in (b"{", b"[") else _IN_FORM
    text = pattern.sub(rb"\1[removed]", body).decode("utf-8", "backslashreplace")
    return redact(text if len(text) <= SEEN_BODY else f"{text[:SEEN_BODY]}… ({len(text)} characters)").replace("\0", "")


async def events(tx: Tx, story: Story) -> list[Entry]:
    """What merchants were told."""
    return [
        Entry(r["created_at"], "event", story.who(r["object_id"]), r["type"], _heard(r["type"]),
              {"event": ids.show("evt", r["id"]), "version": r["object_version"], "request": r["request_id"]})
        for r in await tx.rows(Q.story_events, *story.scope(), MOST + 1)
    ]  # fmt: skip


def _heard(type: str) -> Tone:
    return "bad" if type.endswith(("failed", "canceled")) else "good" if type.endswith("succeeded") else "plain"


async def cases(tx: Tx, story: Story) -> list[Entry]:
    """What a machine would not decide, and what people said and decided."""
    found = []
    for r in await tx.rows(Q.story_cases, *story.keys("case"), MOST + 1):
        details: dict[str, Any] = msgspec.json.decode(r["details"])
        said = f"{r['what']}: {r['says']}"
        found.append(Entry(r["at"], "case", ids.show("case", r["id"]), said, _case_tone(r["what"]), details))
    return found


def _case_tone(what: str) -> Tone:
    return "bad" if what.startswith("opened") else "good" if what.startswith("resolved") else "plain"


async def approvals(tx: Tx, story: Story) -> list[Entry]:
    """What waited for others, and what they said."""
    found = []
    for r in await tx.rows(Q.story_approvals, *story.keys("apr"), MOST + 1):
        money = "" if r["units"] is None else f" ({Amount(r['units'], r['asset'])})"
        tone: Tone = "wait" if r["what"] == "asked" else "bad" if r["what"] in ("no", "refused", "expired") else "good"
        found.append(
            Entry(r["at"], "approval", ids.show("apr", r["id"]), f"{r['what']} by {r['actor']}: {r['says']}{money}", tone, {"why": r["why"]})
        )  # fmt: skip
    return found


async def acts(tx: Tx, story: Story) -> list[Entry]:
    """Who did what."""
    return [
        Entry(r["at"], "trail", r["subject"], f"{r['action']} by {r['actor']}" + (f": {r['why']}" if r["why"] else ""), "plain",
              {"entry": ids.show("tra", r["id"]), "place": r["place"], "request": r["request_id"] or None, "before": _said(r["before"]),
               "after": _said(r["after"])})
        for r in await tx.rows(Q.story_trail, list(story.books), list(story.names), MOST + 1)
    ]  # fmt: skip


def _said(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


TIMELINE = (
    Part(
        "platform", find, gather,
        (
            Reader("requests", "payments:read", requests), Reader("messages", "payments:read", messages),
            Reader("events", "payments:read", events), Reader("cases", "cases:read", cases),
            Reader("approvals", "approvals:read", approvals), Reader("trail", "audit:read", acts),
        ),
    ),
)  # fmt: skip
