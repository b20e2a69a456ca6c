"""China UnionPay, ACP 5.1.0: cashier pages, QR codes, barcodes, the app; voids, refunds, callbacks and the ZM and ZME files.

Sources of the protocol facts: UnionPay's open platform (open.unionpay.com), its official demo, two replies and one file that its gateway really gave.
"""

from guilder.channels.unionpay.adapter import INFO, UnionPay
from guilder.channels.unionpay.config import UnionPayConfig

__all__ = ["INFO", "UnionPay", "UnionPayConfig"]
