"""The view: everything that the page shows of a till, in one language, on one device.  Pure."""

from dataclasses import dataclass
from urllib.parse import quote

from guilder.cashier import device
from guilder.cashier.device import Device, Offer
from guilder.cashier.till import Stage, Till
from guilder.cashier.words import Money, Words
from guilder.channels import registry
from guilder.core import clock


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the summary."""

    name: str
    description: str | None
    quantity: str  # '2 × ¥12.50'; empty for a single piece
    total: Money


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to pay as a button."""

    type: str
    name: str
    hint: str


@dataclass(frozen=True, slots=True)
class View:
    """What the templates show."""

    till: Till
    words: Words
    device: Device
    stage: Stage
    choices: list[Choice]
    others: list[Choice]  # than the one under way
    problem: str | None
    back: bool  # from the channel's page
    go: str | None  # leave for the channel's or the wallet's page at once
    start: str | None = None  # the only way there is, to be begun at once

    @property
    def test(self) -> bool:
        return not self.till.env.livemode

    @property
    def money(self) -> Money:
        return self.words.money(self.till.amount, self.till.currency)

    @property
    def merchant(self) -> str:
        return self.till.owner.name

    @property
    def monogram(self) -> str:
        return next((c for c in self.merchant if c.isalnum()), "·").upper()

    @property
    def method(self) -> str:
        """The name of the way under way."""
        return method_name(self.till.method_type or "", self.words)

    @property
    def app(self) -> str:
        """The app that scans for the way under way."""
        return self.words.say("WeChat") if self.till.method_type == "wechat_pay" else self.method

    @property
    def sheet(self) -> tuple[str, dict[str, str]] | None:
        """Which wallet's sheet the page opens, and with what."""
        return self.till.sheet if self.stage is Stage.WALLET else None

    @property
    def rows(self) -> list[Row]:
        words, currency = self.words, self.till.currency
        return [
            Row(
                line.name, line.description,
                f"{line.quantity} × {words.money(line.unit_amount, currency)}" if line.quantity > 1 else "",
                words.money(line.total, currency),
            )
            for line in self.till.lines
        ]  # fmt: skip

    @property
    def title(self) -> str:
        """What the payment is for, where there are no line items."""
        return self.till.description or self.words.say("Payment")

    @property
    def seconds_left(self) -> int | None:
        """Until this can be paid no more; None if it never ends or has ended."""
        at = self.till.deadline
        return None if at is None or self.stage.final else max(0, int((at - clock.now()).total_seconds()))

    @property
    def code_is_picture(self) -> bool:
        """In the hand a code is saved or pressed on, which needs a picture that apps can read."""
        return self.device.in_hand

    @property
    def simulator(self) -> str | None:
        """Test environment: the simulator's phone, about to scan this code."""
        if not self.test or self.till.code is None:
            return None
        return f"{self.till.env.settings.simulator_url}/phone?code={quote(self.till.code, safe='')}"

    @property
    def query(self) -> str:
        """What a form or link of this page must carry on: the language."""
        return f"?lang={self.words.code}"

    @property
    def says(self) -> str:
        """The state in one sentence, for those who hear the page."""
        say = self.words.say
        match self.stage:
            case Stage.CHOOSE:
                return self.problem or say("Choose how to pay.")
            case Stage.SCAN:
                return say("Scan the code with %(app)s. Waiting for your payment.") % {"app": self.app}
            case Stage.WALLET:
                return say("Confirm the payment in %(method)s.") % {"method": self.method}
            case Stage.LEAVE:
                return say("Continue at %(method)s.") % {"method": self.method}
            case Stage.ASKING:
                return say("We are asking %(method)s about your payment.") % {"method": self.method}
            case Stage.PAID:
                return say("Payment successful.")
            case Stage.EXPIRED:
                return say("This payment has expired. Nothing was charged.")
            case Stage.CANCELED:
                return say("This payment was canceled. Nothing was charged.")


def offered(till: Till, in_: Device) -> list[Offer]:
    """The ways to pay that suit the device."""
    return device.offers(
        in_, till.types, till.options, till.accounts, till.currency, till.amount, hold=till.hold
    )  # fmt: skip


def stage_of(till: Till, in_: Device, *, known: bool) -> Stage:
    """What is shown on this device.  Where another device is in the middle of a way that this one cannot go, it may choose its own.  `known`:
    whether this browser's wallet has said who pays."""
    stage = till.stage
    strange = till.way not in {o.way for o in offered(till, in_)}
    match stage:
        case Stage.SCAN if in_.inside is not None:
            return Stage.CHOOSE
        case Stage.WALLET if not known:
            return Stage.CHOOSE
        case Stage.ASKING if till.unasked and strange:
            return Stage.CHOOSE
    return stage


def of(
    till: Till, words: Words, in_: Device, *, known: bool = False, problem: str | None = None, back: bool = False, go: str | None = None,
    start: bool = False,
) -> View:  # fmt: skip
    """The view of a till."""
    stage = stage_of(till, in_, known=known)
    choices = [_choice(o, in_, words) for o in offered(till, in_)]
    others = [c for c in choices if c.type != till.method_type]
    begin = choices[0].type if start and stage is Stage.CHOOSE and len(choices) == 1 and problem is None else None
    if problem is None and stage is Stage.CHOOSE and till.last_error is not None:
        problem = _problem(till.last_error.get("code", ""), till.last_error.get("decline_code") or "", words)
    return View(till, words, in_, stage, choices, others, problem, back, go, begin)


def method_name(type: str, words: Words) -> str:
    """A way to pay by the name that payers know, as its channel declares it."""
    return registry.called(type, words.code) or words.say("the channel")


def _choice(offer: Offer, in_: Device, words: Words) -> Choice:
    say = words.say
    if offer.scans:
        hint = say("Save the code, or scan it with another phone") if in_.in_hand else say("Scan with your phone")
    elif offer.type == "card":
        hint = (
            say("Enter your card in the fields of its bank's network")
            if offer.shows == "sdk"
            else say("Pay on its own page")
        )
    elif offer.shows == "sdk":
        hint = say("Pay right here")
    else:
        hint = say("Pay on its own page")
    return Choice(offer.type, method_name(offer.type, words), hint)


def _problem(code: str, decline_code: str, words: Words) -> str:
    """Why the last try ended, as the payer should hear it.  Nothing was charged: only certain failures come here (K5)."""
    say = words.say
    if code == "payment_intent_payment_attempt_expired":
        return say("That try has ended and nothing was charged. Choose again to go on.")
    if code == "processing_error":
        return say("We could not reach the channel. Nothing was charged; please try again.")
    if decline_code == "insufficient_funds":
        return say("There was not enough money for this payment. Nothing was charged; try another way.")
    return say("The payment did not go through. Nothing was charged; try again or choose another way.")
