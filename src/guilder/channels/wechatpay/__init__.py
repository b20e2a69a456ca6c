"""WeChat Pay, APIv3, direct merchants: native QR codes, refunds, callbacks and trade bills.

Source of the protocol facts: WeChat Pay's documentation for merchants (pay.weixin.qq.com/doc/v3/merchant) and its official SDKs.
"""

from guilder.channels.wechatpay.adapter import INFO, WeChatPay
from guilder.channels.wechatpay.config import WeChatConfig

__all__ = ["INFO", "WeChatConfig", "WeChatPay"]
