"""PayPal, Orders v2: checkout by redirect, captured or authorised by us, refunds, payouts, disputes, transaction search, STL report.

Source of the protocol facts: PayPal's OpenAPI files (paypal/paypal-rest-api-specifications: checkout_orders_v2, payments_payment_v2,
payments_payouts_batch_v1, customer_disputes_v1, reporting_transactions_v1), the Settlement Report Specification 9.0, and the form of
webhook signatures that PayPal's own SDKs verify.
"""

from guilder.channels.paypal.adapter import INFO, PayPal
from guilder.channels.paypal.config import PayPalConfig

__all__ = ["INFO", "PayPal", "PayPalConfig"]
