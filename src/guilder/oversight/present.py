"""Cases as the API and the command line show them."""

import base64
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from guilder.core import clock, ids
from guilder.platform import case
from guilder.platform.casework import Whole
from guilder.platform.db import Row


class CaseWay(msgspec.Struct):
    """A way in which a case can end."""

    resolver: str
    says: str


class CaseComment(msgspec.Struct, kw_only=True):
    """What somebody said to a case."""

    id: str
    object: Literal["case_comment"] = "case_comment"
    actor: str
    created: int
    text: str


class CaseAttachment(msgspec.Struct, kw_only=True):
    """What somebody laid to a case."""

    id: str
    object: Literal["case_attachment"] = "case_attachment"
    actor: str
    created: int
    data: Annotated[str | UnsetType, Meta(description="The content in base64, where one attachment is retrieved.")] = (
        UNSET
    )
    name: str
    sha256: str
    size: int
    type: Annotated[str, Meta(description="What it is, as whoever laid it there says; nobody has looked.")]


class CaseDecision(msgspec.Struct, kw_only=True):
    """How a case ended."""

    id: str
    object: Literal["case_decision"] = "case_decision"
    actor: str
    approval: Annotated[str | None, Meta(description="The approval that it led to, or came from.")]
    created: int
    journal: Annotated[str | None, Meta(description="The journal that it left.")]
    resolver: str
    why: str


class CaseObject(msgspec.Struct, kw_only=True):
    """What the machine will not decide alone."""

    id: str
    object: Literal["case"] = "case"
    attachments: Annotated[list[CaseAttachment] | UnsetType, Meta(description="Where one case is retrieved.")] = UNSET
    book: Annotated[str, Meta(description="The book that it is about, as its id's 26 characters; or `platform`.")]
    comments: Annotated[list[CaseComment] | UnsetType, Meta(description="Where one case is retrieved.")] = UNSET
    created: int
    decisions: Annotated[
        list[CaseDecision] | UnsetType, Meta(description="Where one case is retrieved; the last is what counts.")
    ] = UNSET
    due_at: int | None
    evidence: dict[str, Any]
    kind: str
    last_seen: int
    livemode: bool
    moved: Annotated[bool, Meta(description="Money has moved and stands in no book: it cannot be dismissed.")]
    overdue: bool
    owner: str | None
    proposal: Annotated[dict[str, Any] | None, Meta(description="What the machine would do.")]
    reopened: Annotated[int, Meta(description="How often it was found again after it was resolved.")]
    resolved_at: int | None
    seen: Annotated[int, Meta(description="How often it was found.")]
    state: Literal["open", "waiting", "resolved"]
    subject: str
    summary: str
    trace: Annotated[str, Meta(description="The chain of work in which it was found.")]
    version: int
    wait_until: int | None
    ways: Annotated[list[CaseWay], Meta(description="How it can end.")]


def case_object(row: Row, *, livemode: bool) -> CaseObject:
    """A case, without what was said about it."""
    about = case.dossier(row)
    resolved = row["state"] == "resolved"
    return CaseObject(
        id=ids.show("case", row["id"]), book="platform" if row["book_id"] == ids.PLATFORM else ids.text(row["book_id"]),
        created=clock.unix(row["created_at"]), due_at=_unix(row["due_at"]), evidence=about.evidence, kind=row["kind"],
        last_seen=clock.unix(row["last_seen_at"]), livemode=livemode, moved=row["moved"],
        overdue=not resolved and row["due_at"] is not None and row["due_at"] < clock.now(), owner=row["owner"],
        proposal=None if row["proposal"] is None else msgspec.json.decode(row["proposal"]), reopened=row["reopened"],
        resolved_at=_unix(row["resolved_at"]), seen=row["seen"], state=row["state"], subject=row["subject"], summary=row["summary"],
        trace=row["root_id"].hex, version=row["version"], wait_until=_unix(row["wait_until"]),
        ways=[] if resolved else [CaseWay(w.name, w.says) for w in case.ways(about)],
    )  # fmt: skip


def whole_case(found: Whole, *, livemode: bool) -> CaseObject:
    """A case with all that was said about it."""
    return msgspec.structs.replace(
        case_object(found.row, livemode=livemode),
        comments=[comment(r) for r in found.comments],
        attachments=[attachment(r) for r in found.attachments],
        decisions=[decision(r) for r in found.decisions],
    )


def comment(row: Row) -> CaseComment:
    return CaseComment(
        id=ids.show("ccm", row["id"]), actor=row["actor"], created=clock.unix(row["created_at"]), text=row["text"]
    )


def attachment(row: Row, *, content: bool = False) -> CaseAttachment:
    return CaseAttachment(
        id=ids.show("cat", row["id"]), actor=row["actor"], created=clock.unix(row["created_at"]),
        data=base64.b64encode(row["content"]).decode() if content else UNSET, name=row["name"], sha256=row["sha256"].hex(), size=row["size"],
        type=row["type"],
    )  # fmt: skip


def decision(row: Row) -> CaseDecision:
    journal, approval = row["journal_id"], row["approval_id"]
    return CaseDecision(
        id=ids.show("cdc", row["id"]), actor=row["actor"], approval=None if approval is None else ids.show("apr", approval),
        created=clock.unix(row["created_at"]), journal=None if journal is None else ids.show("jl", journal), resolver=row["resolver"],
        why=row["why"],
    )  # fmt: skip


def _unix(at: Any) -> int | None:
    return None if at is None else clock.unix(at)
