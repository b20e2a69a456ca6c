"""A book as a child would keep it: one journal at a time, every trial on a copy.  It shares no code with the ledger."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

LIMIT = (1 << 63) - 1
FLOORS = {"surplus": 0}
KNOWN = (
    "receivable:a",
    "payable",
    "surplus",
    "own:a",
)  # what the chart would open; all in CNY, and 'surplus' in USD too
Line = tuple[
    Any, ...
]  # ('move', debit, credit, units), ('hold', account, units, id, expires), ('capture', id, debit, credit, units),
#                         ('release', id, account, units), ('rest', id, account), ('expire', id, account)


@dataclass(frozen=True)
class Entry:
    """A journal: its key, its lines, the group that it stands or falls with."""

    key: str
    lines: tuple[Line, ...]
    group: str | None = None


class Refused(Exception):
    """Raised with a code by whatever cannot be done."""


@dataclass
class Model:
    balances: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    holds: dict[str, list[Any]] = field(default_factory=dict)  # account, remaining, expires
    keys: dict[str, tuple[str, tuple[Line, ...]]] = field(
        default_factory=dict
    )  # 'created' or why not, and what was said

    def post(self, batch: list[Entry], now: int) -> list[str]:
        """The answers of a batch."""
        answers: list[str] = []
        rest = list(batch)
        while rest:
            group = [rest.pop(0)]
            while group[0].group is not None and rest and rest[0].group == group[0].group:
                group.append(rest.pop(0))
            answers += self.together(group, now) if group[0].group is not None else [self.one(group[0], now)]
        return answers

    def one(self, entry: Entry, now: int) -> str:
        if entry.key in self.keys:
            return self.known(entry)
        trial = deepcopy(self)
        try:
            for line in entry.lines:
                trial.line(line, now)
            trial.judge(self)
        except Refused as refused:
            self.keys[entry.key] = (str(refused), entry.lines)
            return str(refused)
        self.__dict__.update(trial.__dict__)
        self.keys[entry.key] = ("created", entry.lines)
        return "created"

    def known(self, entry: Entry) -> str:
        was, lines = self.keys[entry.key]
        if was != "created":
            return "already_refused"
        if [shape(x) for x in lines] != [shape(x) for x in entry.lines]:
            return "exists_with_different_transfers"
        return "exists" if lines == entry.lines else "exists_with_different_amount"

    def together(self, group: list[Entry], now: int) -> list[str]:
        trial, answers = deepcopy(self), []
        for entry in group:
            answers.append(trial.one(entry, now))
            if answers[-1] not in ("created", "exists"):
                break
        else:
            self.__dict__.update(trial.__dict__)
            return answers
        last = len(answers) - 1
        said = []
        for n, entry in enumerate(group):
            if n == last:
                said.append(answers[n])
                self.keys.setdefault(entry.key, (answers[n], entry.lines))
            elif entry.key in self.keys:
                said.append(self.known(entry))
            else:
                self.keys[entry.key] = ("linked_refused", entry.lines)
                said.append("linked_refused")
        return said

    def line(self, line: Line, now: int) -> None:
        kind, *rest = line
        if kind == "move":
            debit, credit, units = rest
            self.check(units, debit, credit)
            self.shift(debit, credit, units)
        elif kind == "hold":
            account, units, id, expires = rest
            self.check(units, account)
            if id in self.holds:
                raise Refused("hold_exists")
            self.holds[id] = [account, units, expires]
            self.held[account] = self.held.get(account, 0) + units
        else:
            id, account = rest[0], rest[1]
            credit = rest[2] if kind == "capture" else None
            self.check(rest[-1] if kind in ("capture", "release") else 1, account, credit)
            units = self.take(kind, id, account, rest[-1], now)
            if credit is not None:
                self.shift(account, credit, units)

    def take(self, kind: str, id: str, account: str, units: Any, now: int) -> int:
        if id not in self.holds:
            raise Refused("hold_not_found")
        whose, remaining, expires = self.holds[id]
        if whose != account:
            raise Refused("hold_of_other_account")
        if remaining == 0:
            raise Refused("hold_ended")
        over = expires is not None and expires <= now
        if kind == "capture" and over:
            raise Refused("hold_expired")
        if kind == "expire" and not over:
            raise Refused("hold_not_expired")
        units = units if kind in ("capture", "release") else remaining
        if units > remaining:
            raise Refused("exceeds_hold")
        self.holds[id] = [whose, remaining - units, expires]
        self.held[account] -= units
        return units

    def check(self, units: int, debit: str, credit: str | None = None) -> None:
        if not 0 < units <= LIMIT:
            raise Refused("units_out_of_range")
        if debit == credit:
            raise Refused("accounts_must_differ")
        if credit is not None and debit.endswith(" USD") != credit.endswith(" USD"):
            raise Refused("asset_mismatch")
        if any(a.removesuffix(" USD") not in KNOWN for a in (debit, credit) if a is not None):
            raise Refused("account_not_found")

    def shift(self, debit: str, credit: str, units: int) -> None:
        self.balances[debit] = self.balances.get(debit, 0) - units
        self.balances[credit] = self.balances.get(credit, 0) + units

    def available(self, account: str) -> int:
        return self.balances.get(account, 0) - self.held.get(account, 0)

    def judge(self, before: "Model") -> None:
        names = self.balances.keys() | self.held.keys()
        for n in names:
            if max(abs(self.balances.get(n, 0)), self.held.get(n, 0), abs(self.available(n))) > LIMIT:
                raise Refused("balance_overflow")
        for n, floor in ((n, FLOORS.get(n.removesuffix(" USD"))) for n in names):
            if floor is not None and self.available(n) < before.available(n) and self.available(n) < floor:
                raise Refused("insufficient_funds")


def shape(line: Line) -> tuple[Any, ...]:
    """What a line says beside how much, and until when."""
    if line[0] == "hold":
        return ("hold", line[1], line[3])
    return line[:-1] if line[0] in ("move", "capture", "release") else line
