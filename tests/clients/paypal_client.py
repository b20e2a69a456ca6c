"""Every operation that `paypal-server-sdk`, PayPal's own, has of those the PayPal simulator offers."""

import time
from typing import Any

from paypalserversdk.configuration import Configuration, Environment, Server
from paypalserversdk.exceptions.error_exception import ErrorException
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.models.amount_with_breakdown import AmountWithBreakdown
from paypalserversdk.models.capture_request import CaptureRequest
from paypalserversdk.models.checkout_payment_intent import CheckoutPaymentIntent
from paypalserversdk.models.money import Money
from paypalserversdk.models.order_request import OrderRequest
from paypalserversdk.models.patch import Patch
from paypalserversdk.models.patch_op import PatchOp
from paypalserversdk.models.purchase_unit_request import PurchaseUnitRequest
from paypalserversdk.models.refund_request import RefundRequest
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient
from report import Report, check


def make_client(report: Report) -> PaypalServersdkClient:
    """The client; its environments are a table of the class, and the simulator takes the sandbox's place in it."""
    Configuration.environments[Environment.SANDBOX][Server.DEFAULT] = report.url
    keys = ClientCredentialsAuthCredentials(report.config["client_id"], report.config["client_secret"])
    return PaypalServersdkClient(client_credentials_auth_credentials=keys, environment=Environment.SANDBOX)


def order(number: str, value: str, intent: str = CheckoutPaymentIntent.CAPTURE) -> OrderRequest:
    amount = AmountWithBreakdown(currency_code="USD", value=value)
    unit = PurchaseUnitRequest(amount=amount, invoice_id=number, custom_id=number, description="two coffees")
    return OrderRequest(intent=intent, purchase_units=[unit])


def refused(act: Any, status: int, issue: str) -> None:
    """An error that the client knows how to read."""
    try:
        act()
    except ErrorException as error:
        check(error.response_code == status and error.details[0].issue == issue, (error.response_code, error.details))
        check(error.debug_id and error.name, "an error without a debug_id")
    else:
        check(False, f"no {issue}")


def main() -> None:
    """Run all steps."""
    report = Report()
    client = report.step("token", "PaypalServersdkClient(...)", lambda: make_client(report))
    number = capture(report, client)
    refund(report, client, number)
    authorise(report, client)
    patch(report, client)
    search(report, client)
    raise SystemExit(report.end())


def capture(report: Report, client: PaypalServersdkClient) -> str:
    """Create, show, capture; each repeated."""
    orders = client.orders

    def create(key: str = "SDK-1", value: str = "12.30") -> Any:
        return orders.create_order(
            {"body": order(key, value), "paypal_request_id": key, "prefer": "return=representation"}
        )

    made = report.step("create", "orders.create_order()", lambda: expect(create(), 201, status="PAYER_ACTION_REQUIRED"))
    again = {"id": made.id}
    report.step("create repeated: the same order", "orders.create_order()", lambda: expect(create(), 200, **again))
    report.step(
        "decimals of yen", "orders.create_order()", lambda: refused(lambda: yen(client), 422, "DECIMAL_PRECISION")
    )
    options = {"id": made.id, "paypal_request_id": "SDK-1C", "prefer": "return=representation"}
    before = report.step
    before(
        "capture before the payer agrees",
        "orders.capture_order()",
        lambda: refused(lambda: orders.capture_order(options), 422, "ORDER_NOT_APPROVED"),
    )
    [go] = [link.href for link in made.links if link.rel == "payer-action"]
    report.sim("/sim/pay", code=go)
    report.step(
        "query of an approved order",
        "orders.get_order()",
        lambda: expect(orders.get_order({"id": made.id}), 200, status="APPROVED"),
    )
    done = report.step(
        "capture", "orders.capture_order()", lambda: expect(orders.capture_order(options), 201, status="COMPLETED")
    )
    report.step(
        "capture repeated",
        "orders.capture_order()",
        lambda: expect(orders.capture_order(options), 200, status="COMPLETED"),
    )
    other = options | {"paypal_request_id": "another"}
    report.step(
        "capture under another key",
        "orders.capture_order()",
        lambda: refused(lambda: orders.capture_order(other), 422, "ORDER_ALREADY_CAPTURED"),
    )
    taken = done.purchase_units[0].payments.captures[0]
    check(taken.amount.value == "12.30" and taken.invoice_id == "SDK-1", taken)
    show = client.payments.get_captured_payment
    report.step(
        "query of a capture",
        "payments.get_captured_payment()",
        lambda: expect(show({"capture_id": taken.id}), 200, status="COMPLETED"),
    )
    absent = {"id": "5O190127TN364715X"}
    report.step(
        "query of what is not",
        "orders.get_order()",
        lambda: refused(lambda: orders.get_order(absent), 404, "INVALID_RESOURCE_ID"),
    )
    return taken.id


def yen(client: PaypalServersdkClient) -> Any:
    request = order("SDK-JPY", "10.50")
    request.purchase_units[0].amount.currency_code = "JPY"
    return client.orders.create_order({"body": request, "paypal_request_id": "SDK-JPY"})


def expect(said: Any, code: int, /, **fields: str) -> Any:
    """A reply that the client has read into its own types."""
    check(said.status_code == code, said.status_code)
    check(all(getattr(said.body, name) == value for name, value in fields.items()), said.text)
    return said.body


def refund(report: Report, client: PaypalServersdkClient, capture_id: str) -> None:
    """In part, repeated, too much; query."""
    call, payments = "payments.refund_captured_payment()", client.payments

    def ask(key: str, value: str) -> Any:
        body = RefundRequest(amount=Money(currency_code="USD", value=value), invoice_id=key)
        options = {"capture_id": capture_id, "body": body, "paypal_request_id": key, "prefer": "return=representation"}
        return payments.refund_captured_payment(options)

    made = report.step("refund", call, lambda: expect(ask("R-1", "2.30"), 201, status="COMPLETED"))
    report.step("refund repeated: the same", call, lambda: expect(ask("R-1", "2.30"), 200, id=made.id))
    report.step(
        "refund beyond what was paid", call, lambda: refused(lambda: ask("R-2", "10.01"), 422, "REFUND_AMOUNT_EXCEEDED")
    )
    report.step(
        "refund query",
        "payments.get_refund()",
        lambda: expect(payments.get_refund({"refund_id": made.id}), 200, status="COMPLETED"),
    )


def authorise(report: Report, client: PaypalServersdkClient) -> None:
    """Hold, capture a part; hold, void."""
    orders, payments = client.orders, client.payments

    def hold(key: str) -> Any:
        made = orders.create_order(
            {"body": order(key, "20.00", CheckoutPaymentIntent.AUTHORIZE), "paypal_request_id": key}
        ).body
        report.sim("/sim/pay", account=report.config["merchant_id"], out_trade_no=key)
        done = expect(orders.authorize_order({"id": made.id, "paypal_request_id": f"{key}A"}), 201, status="COMPLETED")
        [held] = done.purchase_units[0].payments.authorizations
        check(held.status == "CREATED", held.status)
        return held.id

    first = report.step("authorise", "orders.authorize_order()", lambda: hold("SDK-2"))
    part = {
        "authorization_id": first,
        "body": CaptureRequest(amount=Money("USD", "15.00"), final_capture=True),
        "paypal_request_id": "SDK-2C",
        "prefer": "return=representation",
    }
    report.step(
        "capture of a part",
        "payments.capture_authorized_payment()",
        lambda: expect(payments.capture_authorized_payment(part), 201, status="COMPLETED"),
    )
    call = "payments.get_authorized_payment()"
    report.step(
        "query of what was held",
        call,
        lambda: expect(payments.get_authorized_payment({"authorization_id": first}), 200, status="CAPTURED"),
    )
    second = hold("SDK-3")

    def void() -> None:
        check(payments.void_payment({"authorization_id": second}).status_code == 204, "not voided")

    report.step("void", "payments.void_payment()", void)
    gone = {"authorization_id": second}
    report.step(
        "void twice",
        "payments.void_payment()",
        lambda: refused(lambda: payments.void_payment(gone), 422, "PREVIOUSLY_VOIDED"),
    )


def patch(report: Report, client: PaypalServersdkClient) -> None:
    """A change of the custom_id."""
    made = client.orders.create_order({"body": order("SDK-4", "1.00"), "paypal_request_id": "SDK-4"}).body
    change = Patch(op=PatchOp.REPLACE, path="/purchase_units/@reference_id=='default'/custom_id", value="another")

    def act() -> None:
        check(client.orders.patch_order({"id": made.id, "body": [change]}).status_code == 204, "not patched")
        found = client.orders.get_order({"id": made.id}).body
        check(found.purchase_units[0].custom_id == "another", found)

    report.step("patch", "orders.patch_order()", act)


def search(report: Report, client: PaypalServersdkClient) -> None:
    """The day's rows."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    options = {"start_date": f"{day}T00:00:00Z", "end_date": f"{day}T23:59:59Z", "fields": "transaction_info"}

    def act() -> None:
        said = client.transaction_search.search_transactions(options).body
        rows = [
            (d.transaction_info.transaction_event_code, d.transaction_info.transaction_amount.value)
            for d in said.transaction_details
        ]
        check(sorted(rows) == [("T0006", "12.30"), ("T0006", "15.00"), ("T1107", "-2.30")], rows)
        check(said.total_items == 3 and said.total_pages == 1, said)

    report.step("transaction search", "transaction_search.search_transactions()", act)


if __name__ == "__main__":
    main()
