"""WeChat Pay, APIv3: every way of paying, for merchants who sign for themselves and through service providers; refunds, payouts,
callbacks, trade and fund-flow bills, and who holds the phone.

Source of the protocol facts: WeChat Pay's documentation for merchants and partners (pay.weixin.qq.com/doc/v3) and its official SDKs.
"""

from guilder.channels.wechatpay.adapter import WeChatPay
from guilder.channels.wechatpay.config import WeChatConfig
from guilder.channels.wechatpay.info import INFO

__all__ = ["INFO", "WeChatConfig", "WeChatPay"]
