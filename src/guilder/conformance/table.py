"""The suite's tests by what they are about, and their results as a table: way x operation x normal and fault."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from guilder.channels.info import Info, Operation
from guilder.conformance.suite import Case

ROWS = ("create", "query", "close", "cancel", "hold and capture", "refund", "callback", "payout", "statement")
NORMAL, FAULT = "normal", "fault"


class Verdict(StrEnum):
    HOLDS = "holds"
    FAILS = "FAILS"
    UNDECLARED = "not declared"
    UNTRIED = "not tried"  # declared, and its package has no case for it


ABOUT: dict[str, tuple[str, str]] = {
    "test_a_payment_from_its_creation_to_its_callback": ("create", NORMAL),
    "test_C6_the_same_ask_twice_is_one_payment": ("create", NORMAL),
    "test_a_payer_who_walks_away": ("query", NORMAL),
    "test_what_was_never_asked_for_is_not_found": ("query", NORMAL),
    "test_closed_is_closed": ("close", NORMAL),
    "test_a_close_that_comes_too_late_says_paid": ("query", NORMAL),
    "test_a_key_used_for_another_amount": ("create", FAULT),
    "test_refunds_partial_and_several_and_never_too_much": ("refund", NORMAL),
    "test_a_refund_that_fails": ("refund", FAULT),
    "test_C2_C3_a_create_without_a_believable_answer": ("create", FAULT),
    "test_C2_C3_a_query_without_a_believable_answer": ("query", FAULT),
    "test_C2_C3_a_close_without_a_believable_answer": ("close", FAULT),
    "test_C2_C3_a_refund_without_a_believable_answer": ("refund", FAULT),
    "test_C2_not_sent": ("create", FAULT),
    "test_C3_a_forged_callback_is_refused_and_the_genuine_one_still_comes": ("callback", FAULT),
    "test_a_callback_that_comes_five_times_has_one_id": ("callback", NORMAL),
    "test_C4_a_wrong_amount_is_told_as_it_was_said": ("query", FAULT),
    "test_C4_a_callback_meant_for_another_account": ("callback", FAULT),
    "test_cancel_gives_back_what_was_paid": ("cancel", NORMAL),
    "test_money_is_held_and_captured_in_part": ("hold and capture", NORMAL),
    "test_money_is_held_and_let_go": ("hold and capture", NORMAL),
    "test_C2_C3_a_capture_without_a_believable_answer": ("hold and capture", FAULT),
    "test_a_statement_has_every_row_and_its_totals": ("statement", NORMAL),
    "test_a_statement_with_rows_taken_out_changed_and_added_still_adds_up": ("statement", NORMAL),
    "test_a_corrupt_statement_is_none": ("statement", FAULT),
    "test_a_day_without_trade": ("statement", NORMAL),
    "test_a_statement_without_an_answer": ("statement", FAULT),
}
NEEDS = {
    "close": Operation.CLOSE, "cancel": Operation.CANCEL, "hold and capture": Operation.CAPTURE, "refund": Operation.REFUND,
    "payout": Operation.PAYOUT,
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One test of one case."""

    case: str
    test: str
    passed: bool
    why: str = ""

    @property
    def about(self) -> tuple[str, str]:
        """Its place in the table; payouts have a class of their own."""
        name = self.test.partition("[")[0].rpartition("::")[2]
        if "TestPayouts" in self.test:
            return "payout", FAULT if "_C2_" in name or "fails" in name or "another_amount" in name else NORMAL
        return ABOUT[name]


def of_case(case: Case, cases: Iterable[Case], results: Iterable[Result]) -> list[Result]:
    """The results of one of the cases.  A test's parameters may name a dial too, and one case may begin like another."""
    names = sorted({str(c) for c in cases}, key=len, reverse=True)
    return [r for r in results if str(case) == next((n for n in names if n in r.case), None)]


Cell = tuple[Verdict, int]  # and by how many tests


def tabulate(info: Info, case: Case, results: Iterable[Result]) -> Mapping[tuple[str, str], Cell]:
    """The cells of one way, by row and kind.  What the channel does not declare is not asked of it."""
    found: dict[tuple[str, str], list[bool]] = {}
    for result in results:
        found.setdefault(result.about, []).append(result.passed)
    cells: dict[tuple[str, str], Cell] = {}
    for row in ROWS:
        for kind in (NORMAL, FAULT):
            tried = found.get((row, kind), [])
            if not _declared(info, case, row, kind):
                cells[row, kind] = Verdict.UNDECLARED, 0
            elif not tried:
                cells[row, kind] = Verdict.UNTRIED, 0
            else:
                cells[row, kind] = (Verdict.HOLDS if all(tried) else Verdict.FAILS), len(tried)
    return cells


def _declared(info: Info, case: Case, row: str, kind: str) -> bool:
    if (row, kind) == ("create", FAULT) and not case.create_asks:
        return False  # the payer's browser is sent there: nothing is asked, so nothing can go wrong
    if row == "callback":
        return case.told
    return row not in NEEDS or info.can(NEEDS[row], case.way)
