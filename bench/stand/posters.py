"""Posters: journals of one transfer each, with the answer that each must get, posted in batches or through a lane.

    book = await Book.opened(db, accounts=100_000)
    played = await Batches(db, Mix(book, hot=True, holds=True), 1000).play(seconds=5)

Plain: every journal moves units and is booked.  With holds: of 100 journals 10 are refused, 45 move units, and 45 are a part of a hold's
life: hold, capture, capture, release what remains.  Many holds live at once, so that a life lasts for batches.

Hot: every journal debits or credits one account, against 100 others, or holds units of it.  Spread: both ends are any of the accounts.
All accounts have a floor and funds.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import GuilderError
from guilder.ledger import Account, Code, Journal, Posted, Transfer, capture, hold, post, release
from guilder.platform.batch import Lane
from guilder.platform.db import Contended, Database, Tx

OTHERS = 100  # at the other end of the hot account
FUNDS, HOT_FUNDS, TOO_MUCH = 10**9, 10**15, 10**17
BANK = Account("receivable:bank", "CNY")
HOT = Account("surplus:hot", "CNY")  # the chart has no other account with a floor
_CREATED = [Code.CREATED]


@dataclass
class Played:
    """What came of a turn.  `cpu_s` is of whoever asked PostgreSQL; making journals and comparing answers is in neither figure."""

    booked: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    batches: int = 0
    ms: list[float] = field(default_factory=list)  # a batch, or a caller's wait


class Book:
    """A book, and what its callers were told: it must be what they find in it."""

    def __init__(self, accounts: int) -> None:
        self.id = ids.new_id()
        self.accounts = [Account(f"surplus:{n:06d}", "CNY") for n in range(accounts)]
        self.booked = self.refused = self.transfers = self.units = 0
        self.wrong: Counter[str] = Counter()  # answers other than expected
        self.mixes: list[Mix] = []
        self._turn = 0

    @classmethod
    async def opened(cls, db: Database, accounts: int) -> "Book":
        """A new book whose accounts are open and have funds."""
        book = cls(accounts)
        funds = [(HOT, HOT_FUNDS), *((a, FUNDS) for a in book.accounts)]
        journals = [
            book.journal("fund", *(Transfer(BANK, account, units) for account, units in funds[n : n + 100]))
            for n in range(0, len(funds), 100)
        ]
        for n in range(0, len(journals), 20):
            await Direct(db).post(book, journals[n : n + 20], _CREATED * len(journals[n : n + 20]))
        return book

    @property
    def held(self) -> int:
        """What remains of all its holds."""
        return sum(life.left for mix in self.mixes for life in mix.lives)

    def journal(self, rule: str, *transfers: Transfer) -> Journal:
        """The next journal; keys rise, as those made of ids do."""
        self._turn += 1
        return Journal(self.id, f"{rule}:{self._turn:026d}", rule, transfers, self.id, clock.now(), self.id)

    def told(self, journals: Sequence[Journal], expected: Sequence[Code], posted: Sequence[Posted]) -> int:
        """Note answers; how many journals were booked."""
        booked = 0
        for journal, code, answer in zip(journals, expected, posted, strict=True):
            if answer.code is not code:
                self.wrong[f"{answer.code} instead of {code}"] += 1
            if answer.code is not Code.CREATED:
                self.refused += 1
                continue
            booked += 1
            self.transfers += len(journal.transfers)
            self.units += sum(t.units for t in journal.transfers if t.credit is not None)
        self.booked += booked
        return booked


@dataclass(slots=True)
class Life:
    """A hold that was made and not yet ended."""

    id: UUID
    account: Account
    other: Account
    left: int
    parts: list[int]  # to be captured


class Mix:
    """Makes journals for batches of `size`.  What is done to a hold lies some batches apart: two that are on their way at once may change
    places."""

    def __init__(self, book: Book, *, hot: bool, holds: bool, size: int) -> None:
        self.book = book
        self.lives: deque[Life] = deque()
        self._hot, self._holds, self._alive = hot, holds, max(4, 3 * size)
        self._others = book.accounts[:OTHERS]
        self._rng = random.Random(len(book.mixes))
        self._ended: deque[Life] = deque(maxlen=max(4, size))
        book.mixes.append(self)

    def make(self, size: int) -> tuple[list[Journal], list[Code]]:
        """So many journals, and what each must be answered."""
        if not self._holds:
            return [self._move() for _ in range(size)], _CREATED * size
        made = [self._any() for _ in range(size)]
        return [j for j, _ in made], [code for _, code in made]

    def _any(self) -> tuple[Journal, Code]:
        at = self._rng.random()
        if at < 0.1:
            return self._refused(at * 10)
        return (self._move() if at < 0.55 else self._live()), Code.CREATED

    def _ends(self) -> tuple[Account, Account]:
        if self._hot:
            return HOT, self._rng.choice(self._others)
        a, b = self._rng.sample(self.book.accounts, 2)
        return a, b

    def _move(self) -> Journal:
        a, b = self._ends()
        units = self._rng.randrange(1, 1000)
        return self.book.journal("charge", Transfer(a, b, units) if units & 1 else Transfer(b, a, units))

    def _live(self) -> Journal:
        if len(self.lives) < self._alive:
            a, b = self._ends()
            units = self._rng.randrange(100, 1000)
            life = Life(ids.new_id(), a, b, units, [units // 2, units // 4])
            self.lives.append(life)
            return self.book.journal("hold", hold(a, units, life.id))
        life = self.lives.popleft()
        if not life.parts:
            self._ended.append(life)
            return self.book.journal("release", release(life.id, life.account))
        units = life.parts.pop()
        life.left -= units
        self.lives.append(life)
        return self.book.journal("capture", capture(life.id, life.account, life.other, units))

    def _refused(self, at: float) -> tuple[Journal, Code]:
        if at < 0.15 and len(self._ended) == self._ended.maxlen:
            ended = self._ended[0]
            return self.book.journal("capture", capture(ended.id, ended.account, ended.other, 1)), Code.HOLD_ENDED
        if at < 0.3 and self.lives:
            life = self.lives[0]
            over = capture(life.id, life.account, life.other, life.left + 1)
            return self.book.journal("capture", over), Code.EXCEEDS_HOLD
        a, b = self._ends()
        if at < 0.5:
            return self.book.journal("hold", hold(a, TOO_MUCH, ids.new_id())), Code.INSUFFICIENT_FUNDS
        return self.book.journal("charge", Transfer(a, b, TOO_MUCH)), Code.INSUFFICIENT_FUNDS


class Direct:
    """One caller who posts whole batches."""

    def __init__(self, db: Database, *, durable: bool = True) -> None:
        self._db = db
        self._durable = durable

    async def post(self, book: Book, journals: list[Journal], expected: Sequence[Code]) -> Played:
        """One batch, from its first statement to the acknowledged commit."""
        cpu, begun = time.process_time(), time.perf_counter()
        posted = await self._db.transact(lambda tx: post(tx, journals), durable=self._durable)
        spent, cpu = time.perf_counter() - begun, time.process_time() - cpu
        return Played(book.told(journals, expected, posted), spent, cpu, 1, [spent * 1000])


class Batches:
    """Batches of one size from two callers.  A book has one at a time; while it is written the other caller's is made ready."""

    def __init__(self, db: Database, mix: Mix, size: int) -> None:
        self._db = db
        self._mix = mix
        self._size = size

    async def _post(self, journals: list[Journal], *, hopeful: bool) -> list[Posted]:
        return await self._db.transact(lambda tx: post(tx, journals), lock_timeout_ms=20_000, hopeful=hopeful)

    async def play(self, seconds: float) -> Played:
        """Until so much time was spent posting.  The clock stands while the next batches are made, and while answers are compared."""
        total, book = Played(), self._mix.book
        while total.seconds < seconds:
            batches = [self._mix.make(self._size) for _ in range(max(4, min(200, 20_000 // self._size)))]
            answers: list[list[Posted]] = [[] for _ in batches]
            todo = iter(range(len(batches)))

            async def caller(todo: Iterator[int] = todo, batches: Any = batches, answers: Any = answers) -> None:
                for n in todo:
                    at = time.perf_counter()
                    try:
                        answers[n] = await self._post(batches[n][0], hopeful=True)
                    except Contended:  # as a lane does
                        answers[n] = await self._post(batches[n][0], hopeful=False)
                    total.ms.append((time.perf_counter() - at) * 1000)

            cpu, begun = time.process_time(), time.perf_counter()
            await asyncio.gather(caller(), caller())
            total.seconds += time.perf_counter() - begun
            total.cpu_s += time.process_time() - cpu
            total.batches += len(batches)
            total.booked += sum(book.told(*batch, told) for batch, told in zip(batches, answers, strict=True))
        return total


class Callers:
    """Concurrent callers with a journal each, which a lane gathers into batches: how the product posts.  Each has holds of its own."""

    def __init__(self, db: Database, book: Book, callers: int, *, hot: bool) -> None:
        self._book = book
        self._mixes = [Mix(book, hot=hot, holds=True, size=1) for _ in range(callers)]
        self._lane: Lane[Journal, Posted] = Lane(db, "bench", self._post)
        self._batches = 0

    async def _post(self, tx: Tx, journals: list[Journal]) -> Sequence[Posted | GuilderError]:
        self._batches += 1
        return await post(tx, journals)

    async def play(self, seconds: float) -> Played:
        """For so long; each caller begins its next when it has its answer."""
        total, batches = Played(), self._batches
        cpu, begun = time.process_time(), time.perf_counter()

        async def caller(mix: Mix) -> None:
            while (at := time.perf_counter()) < begun + seconds:
                journals, expected = mix.make(1)
                posted = await self._lane.submit(journals[0], self._book.id)
                total.ms.append((time.perf_counter() - at) * 1000)
                total.booked += self._book.told(journals, expected, [posted])

        await asyncio.gather(*map(caller, self._mixes))
        total.seconds, total.cpu_s = time.perf_counter() - begun, time.process_time() - cpu
        total.batches = self._batches - batches
        return total
