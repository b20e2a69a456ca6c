"""Alipay, openapi gateway: cashier page and QR code, refunds, callbacks and trade bills.

Source of the protocol facts: Alipay's open platform documentation (opendocs.alipay.com) and its official SDKs.
"""

from guilder.channels.alipay.adapter import INFO, Alipay
from guilder.channels.alipay.config import AlipayConfig

__all__ = ["INFO", "Alipay", "AlipayConfig"]
