"""What a merchant does with the official `stripe` package, against the Stripe simulator: calls, refusals, events, the report."""

import csv
import io
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import stripe
from report import Report, check

DAY_S = 86_400


def main() -> None:
    """Run all steps."""
    report = Report()
    config = report.config
    client = stripe.StripeClient(
        config["secret_key"], base_addresses={"api": report.url, "files": report.url}, max_network_retries=0
    )
    endpoint = report.step("endpoint", "webhook_endpoints.create()", lambda: register(report, client))
    Merchant(report, client, endpoint.secret).run()
    raise SystemExit(report.end())


def register(report: Report, client: stripe.StripeClient) -> Any:
    """The report's door becomes the account's endpoint."""
    check(client.v1.accounts.retrieve_current().id == report.config["account_id"], "another account")
    made = client.v1.webhook_endpoints.create({"url": report.notify_url, "enabled_events": ["*"]})
    check(made.secret == report.config["webhook_secret"], "another secret")
    return made


def refused(kind: type[Exception], act: Callable[[], Any], **expected: Any) -> Any:
    """The error that `act` ends with, which must say this."""
    try:
        act()
    except stripe.StripeError as error:
        seen = {name: getattr(error, name) for name in expected}
        check(type(error) is kind and seen == expected, (type(error), seen))
        return error
    raise AssertionError("it was accepted")


class Merchant:
    """One shop, step by step."""

    def __init__(self, report: Report, client: stripe.StripeClient, secret: str) -> None:
        self.report, self.client, self.secret = report, client, secret
        self.account = report.config["account_id"]

    def run(self) -> None:
        step = self.report.step
        step("create, confirm, event", "payment_intents.create(), confirm()", self.pay)
        step("create repeated: the same intent", "idempotency_key", self.repeat)
        step("a key with other parameters", "idempotency_key", self.reuse)
        step("charged at once", "payment_intents.create(confirm)", self.at_once)
        step("declined, and tried again", "payment_intents.create(confirm), confirm()", self.decline)
        step("3-D Secure", "next_action.redirect_to_url", self.redirect)
        step("3-D Secure refused", "next_action.redirect_to_url", self.redirect_refused)
        step("held and captured in part", "payment_intents.capture()", self.capture)
        step("held and let go", "payment_intents.cancel()", self.let_go)
        step("cancel of what is paid", "payment_intents.cancel()", self.cancel_late)
        step("search and list", "payment_intents.search(), list()", self.find)
        step("refunds", "refunds.create(), list(), retrieve()", self.refund)
        step("a refund too much", "refunds.create()", self.refund_too_much)
        step("a dispute won", "disputes.update(submit)", self.win)
        step("a dispute lost", "disputes.close()", self.lose)
        step("payout", "payouts.create(), retrieve()", self.payout)
        step("balance transactions", "balance_transactions.list().auto_paging_iter()", self.balance)
        step("report", "reporting.report_runs.create(), files.retrieve()", self.statement)
        step("what is not known is refused", "payment_intents.create(colour)", self.unknown)
        step("a key that is none", "StripeClient('sk_test_x')", self.stranger)

    # --- help

    def create(self, key: str = "", **changes: Any) -> Any:
        fields = {"amount": 1250, "currency": "cny", "payment_method_types": ["card"], **changes}
        return self.client.v1.payment_intents.create(fields, {"idempotency_key": key} if key else {})

    def paid(self, **changes: Any) -> Any:
        made = self.create(confirm=True, payment_method="pm_card_visa", **changes)
        check(made.status == "succeeded", made.status)
        return made

    def heard(self, type: str, id: str) -> Any:
        """The next event of this type about this thing; what comes in between is verified too."""
        deadline = time.monotonic() + 10
        while True:
            check(time.monotonic() < deadline, f"{type} of {id} did not come")
            headers, body = self.report.callbacks.get(timeout=10)
            event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], self.secret)
            for bad in (
                (body + b" ", headers["Stripe-Signature"]),
                (body, headers["Stripe-Signature"].replace("t=1", "t=2")),
            ):
                refused(
                    stripe.SignatureVerificationError, lambda bad=bad: stripe.Webhook.construct_event(*bad, self.secret)
                )
            if event.type == type and event.data.object["id"] == id:
                return event.data.object

    # --- steps

    def pay(self) -> None:
        self.first = self.create("first", metadata={"order_id": "6735"})
        check(self.first.status == "requires_payment_method" and self.first.client_secret, self.first)
        done = self.client.v1.payment_intents.confirm(self.first.id, {"payment_method": "pm_card_visa"})
        check((done.status, done.amount_received) == ("succeeded", 1250), done)
        told = self.heard("payment_intent.succeeded", self.first.id)
        check(told["metadata"]["order_id"] == "6735", told)

    def repeat(self) -> None:
        again = self.create("first", metadata={"order_id": "6735"})
        check(
            again.id == self.first.id and again.status == "requires_payment_method", "the first answer, word for word"
        )
        check(again.last_response.headers["Idempotent-Replayed"] == "true", again.last_response.headers)

    def reuse(self) -> None:
        refused(stripe.IdempotencyError, lambda: self.create("first", amount=999), http_status=400)

    def at_once(self) -> None:
        made = self.paid(expand=["latest_charge.balance_transaction"])
        transaction = made.latest_charge.balance_transaction
        check((transaction.amount, transaction.fee, transaction.net) == (1250, 66, 1184), transaction)
        check(made.latest_charge.payment_method_details.card.last4 == "4242", made.latest_charge)

    def decline(self) -> None:
        token = "pm_card_chargeDeclinedInsufficientFunds"
        wrong = {"http_status": 402, "code": "card_declined"}
        error = refused(stripe.CardError, lambda: self.create(confirm=True, payment_method=token), **wrong)
        check(error.error.decline_code == "insufficient_funds", error.error)
        intent = self.client.v1.payment_intents.retrieve(error.error.payment_intent.id)
        check((intent.status, intent.last_payment_error.code) == ("requires_payment_method", "card_declined"), intent)
        self.heard("payment_intent.payment_failed", intent.id)
        done = self.client.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
        check((done.status, done.last_payment_error) == ("succeeded", None), done)

    def _at_the_bank(self, action: str) -> Any:
        made = self.create(
            confirm=True, payment_method="pm_card_authenticationRequired", return_url="https://shop.example/back"
        )
        check((made.status, made.next_action.type) == ("requires_action", "redirect_to_url"), made)
        self.report.sim("/sim/pay", code=made.next_action.redirect_to_url.url, action=action)
        return self.client.v1.payment_intents.retrieve(made.id)

    def redirect(self) -> None:
        done = self._at_the_bank("pay")
        check(done.status == "succeeded", done)
        self.heard("payment_intent.succeeded", done.id)

    def redirect_refused(self) -> None:
        back = self._at_the_bank("decline")
        check(back.last_payment_error.code == "payment_intent_authentication_failure", back)

    def capture(self) -> None:
        held = self.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
        check((held.status, held.amount_capturable) == ("requires_capture", 1250), held)
        self.heard("payment_intent.amount_capturable_updated", held.id)
        too_much = {"amount_to_capture": 1251}
        refused(
            stripe.InvalidRequestError,
            lambda: self.client.v1.payment_intents.capture(held.id, too_much),
            code="amount_too_large",
        )
        done = self.client.v1.payment_intents.capture(held.id, {"amount_to_capture": 1000})
        check((done.status, done.amount_received) == ("succeeded", 1000), done)

    def let_go(self) -> None:
        held = self.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
        done = self.client.v1.payment_intents.cancel(held.id, {"cancellation_reason": "abandoned"})
        check((done.status, done.cancellation_reason) == ("canceled", "abandoned"), done)
        self.heard("payment_intent.canceled", held.id)

    def cancel_late(self) -> None:
        expected = {"http_status": 400, "code": "payment_intent_unexpected_state"}
        error = refused(
            stripe.InvalidRequestError, lambda: self.client.v1.payment_intents.cancel(self.first.id), **expected
        )
        check(error.error.payment_intent.status == "succeeded", error.error)

    def find(self) -> None:
        found = self.client.v1.payment_intents.search({"query": "metadata['order_id']:'6735'"})
        check([one.id for one in found.data] == [self.first.id], found)
        page = self.client.v1.payment_intents.list({"limit": 2})
        everything = [one.id for one in page.auto_paging_iter()]
        check(len(everything) == len(set(everything)) == 7 and everything[-1] == self.first.id, everything)

    def refund(self) -> None:
        one = self.client.v1.refunds.create(
            {"payment_intent": self.first.id, "amount": 500, "reason": "requested_by_customer"}
        )
        check((one.status, one.payment_intent) == ("succeeded", self.first.id), one)
        self.heard("refund.updated", one.id)
        two = self.client.v1.refunds.create(
            {"charge": f"ch_{self.first.id[3:]}", "amount": 250, "metadata": {"why": "cold"}}
        )
        check(self.client.v1.refunds.retrieve(two.id).metadata["why"] == "cold", two)
        listed = self.client.v1.refunds.list({"payment_intent": self.first.id})
        check([r.id for r in listed.data] == [two.id, one.id], listed)

    def refund_too_much(self) -> None:
        ask = {"payment_intent": self.first.id, "amount": 501}
        refused(stripe.InvalidRequestError, lambda: self.client.v1.refunds.create(ask), http_status=400, param="amount")

    def _disputed(self) -> Any:
        made = self.create(confirm=True, payment_method="pm_card_createDispute")
        [one] = self.client.v1.disputes.list({"payment_intent": made.id}).data
        check((one.status, one.reason, one.balance_transactions[0].net) == ("needs_response", "fraudulent", -2750), one)
        self.heard("charge.dispute.created", one.id)
        return one

    def win(self) -> None:
        one = self._disputed()
        sent = self.client.v1.disputes.update(
            one.id, {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True}
        )
        check((sent.status, sent.evidence_details.submission_count) == ("under_review", 1), sent)
        check(self.heard("charge.dispute.closed", one.id)["status"] == "won", one)

    def lose(self) -> None:
        one = self._disputed()
        check(self.client.v1.disputes.close(one.id).status == "lost", one)
        refused(stripe.InvalidRequestError, lambda: self.client.v1.disputes.close(one.id), http_status=400)

    def payout(self) -> None:
        made = self.client.v1.payouts.create({"amount": 1000, "currency": "cny", "metadata": {"batch": "7"}})
        check(made.status == "in_transit", made)
        check(self.heard("payout.paid", made.id)["metadata"]["batch"] == "7", made)
        check(self.client.v1.payouts.retrieve(made.id).status == "paid", made)

    def balance(self) -> None:
        moves = list(self.client.v1.balance_transactions.list({"limit": 3}).auto_paging_iter())
        kinds = sorted({one.reporting_category for one in moves})
        check(kinds == ["charge", "dispute", "dispute_reversal", "partial_capture_reversal", "payout", "refund"], kinds)
        check(all(one.amount - one.fee == one.net for one in moves), moves)
        [available] = self.client.v1.balance.retrieve().available
        check(available.amount == sum(one.net for one in moves), available)

    def statement(self) -> None:
        start = int(time.time()) // DAY_S * DAY_S
        columns = ["balance_transaction_id", "gross", "fee", "net", "reporting_category", "payment_metadata[order_id]"]
        asked = {"interval_start": start, "interval_end": start + DAY_S, "columns": columns}
        params = {"report_type": "balance_change_from_activity.itemized.3", "parameters": asked}
        refused(
            stripe.InvalidRequestError, lambda: self.client.v1.reporting.report_runs.create(params), http_status=400
        )
        day = time.strftime("%Y-%m-%d", time.gmtime(start))
        self.report.sim(f"/sim/accounts/{self.account}/close-day", day=day)
        run = self.client.v1.reporting.report_runs.create(params)
        check(run.status == "pending", run)
        run = self.client.v1.reporting.report_runs.retrieve(run.id)
        check((run.status, run.result.type) == ("succeeded", "csv"), run)
        check(self.client.v1.files.retrieve(run.result.id).size == run.result.size, run)
        request = urllib.request.Request(
            run.result.url, headers={"Authorization": f"Bearer {self.report.config['secret_key']}"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            raw = reply.read()
        rows = list(csv.DictReader(io.StringIO(raw.decode())))
        check(len(raw) == run.result.size and {"12.50", "-5.00", "-12.50"} <= {row["gross"] for row in rows}, rows)
        check(sum(row["payment_metadata[order_id]"] == "6735" for row in rows) == 3, rows)

    def unknown(self) -> None:
        refused(stripe.InvalidRequestError, lambda: self.create(colour="red"), code="parameter_unknown", param="colour")

    def stranger(self) -> None:
        other = stripe.StripeClient("sk_test_x", base_addresses={"api": self.report.url}, max_network_retries=0)
        refused(stripe.AuthenticationError, other.v1.balance.retrieve, http_status=401)


if __name__ == "__main__":
    main()
