"""Several plain books at once: a group stands or falls across them, and a trial copies only what its journals name.

The plain book copies all of itself for each journal, keys included; here are tens of thousands.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from uuid import UUID

from batches import Said
from plain_book import Entry, Model, Refused

KNOWN = frozenset({"exists", "already_refused", "exists_with_different_amount", "exists_with_different_transfers"})


class Book(Model):
    """A plain book whose trials are small."""

    def trial(self, entries: Sequence[Entry]) -> "Book":
        """As much of it as these entries can see."""
        holds = {word for e in entries for line in e.lines for word in line} & self.holds.keys()
        keys = {e.key for e in entries} & self.keys.keys()
        return Book(
            dict(self.balances),
            dict(self.held),
            {id: list(self.holds[id]) for id in holds},
            {key: self.keys[key] for key in keys},
        )

    def take_over(self, trial: Model) -> None:
        """The trial is what happened."""
        self.balances, self.held = trial.balances, trial.held
        self.holds.update(trial.holds)
        self.keys.update(trial.keys)

    def one(self, entry: Entry, now: int) -> str:
        if entry.key in self.keys:
            return self.known(entry)
        trial, answer = self.trial([entry]), "created"
        try:
            for line in entry.lines:
                trial.line(line, now)
            trial.judge(self)
            self.take_over(trial)
        except Refused as refused:
            answer = str(refused)
        self.keys[entry.key] = (answer, entry.lines)
        return answer


class Books(defaultdict[UUID, Book]):
    """Every book of an environment."""

    def __init__(self) -> None:
        super().__init__(Book)

    def post(self, batch: Sequence[Said], now: int) -> list[str]:
        """The answers of a batch."""
        answers: list[str] = []
        for group, members in groupby(batch, key=lambda said: said.entry.group):
            if group is None:
                answers += [self[book].one(entry, now) for book, entry in members]
            else:
                answers += self.together(list(members), now)
        return answers

    def together(self, group: Sequence[Said], now: int) -> list[str]:
        trials = {book: self[book].trial([s.entry for s in group if s.book == book]) for book, _ in group}
        answers: list[str] = []
        for book, entry in group:
            answers.append(trials[book].one(entry, now))
            if answers[-1] not in ("created", "exists"):
                break
        else:
            for book, trial in trials.items():
                self[book].take_over(trial)
            return answers
        culprit = len(answers) - 1
        return [self._along(said, answers[n] if n == culprit else "linked_refused") for n, said in enumerate(group)]

    def _along(self, said: Said, code: str) -> str:
        """Refuse a member of a group that fell; what is known stays as it is."""
        book, entry = self[said.book], said.entry
        if entry.key in book.keys:
            return book.known(entry)
        book.keys[entry.key] = (code, entry.lines)
        return code
