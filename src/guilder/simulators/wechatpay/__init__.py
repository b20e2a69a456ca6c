"""WeChat Pay APIv3 as a merchant meets it.  Facts: WeChat Pay's merchant documentation, APIv3, direct merchants."""

from guilder.simulators.wechatpay.channel import WeChatPay

__all__ = ["WeChatPay"]
