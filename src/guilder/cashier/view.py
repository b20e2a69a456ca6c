"""The view: everything that the page shows of a till, in one language, on one device.  Pure."""

from dataclasses import dataclass
from urllib.parse import quote

from guilder.cashier import device
from guilder.cashier.device import Device, Offer
from guilder.cashier.till import Stage, Till
from guilder.cashier.words import Money, Words
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
    go: str | None  # leave for the channel's page at once

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


def of(
    till: Till, words: Words, in_: Device, *, problem: str | None = None, back: bool = False, go: bool = False
) -> View:
    """The view of a till."""
    stage = till.stage
    offered = device.offers(in_, till.types, till.options)
    choices = [_choice(o, in_, words) for o in offered]
    others = [c for c in choices if c.type != till.method_type]
    if problem is None and stage is Stage.CHOOSE and till.last_error is not None:
        problem = _problem(till.last_error.get("code", ""), till.last_error.get("decline_code") or "", words)
    return View(till, words, in_, stage, choices, others, problem, back, till.leaves_to if go else None)


def method_name(type: str, words: Words) -> str:
    """A way to pay by the name that payers know."""
    return {"wechat_pay": words.say("WeChat Pay"), "alipay": words.say("Alipay")}.get(type, words.say("the channel"))


def _choice(offer: Offer, in_: Device, words: Words) -> Choice:
    say = words.say
    if offer.type == "wechat_pay":
        hint = say("Press and hold the code") if in_ is Device.WECHAT else say("Scan with your phone")
        if in_ is Device.PHONE:
            hint = say("Save the code, or scan it with another phone")
    elif offer.scans:
        hint = say("Scan with your phone")
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
