"""WeChat Pay APIv3 as a merchant meets it.  Facts: WeChat Pay's merchant documentation, APIv3, direct merchants."""

from guilder.simulators.wechatpay.channel import WeChatPay
from guilder.simulators.wechatpay.operations import Counter

__all__ = ["Counter", "WeChatPay"]
