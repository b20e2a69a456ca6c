"""WeChat Pay APIv3 as a merchant meets it, directly or through a service provider, and WeChat as its payer holds it.

Facts: WeChat Pay's documentation for merchants and partners, and its official SDKs.
"""

from starlette.routing import Route

from guilder.simulators.wechatpay.bills import Bills
from guilder.simulators.wechatpay.channel import WeChatPay
from guilder.simulators.wechatpay.door import Door
from guilder.simulators.wechatpay.orders import Orders
from guilder.simulators.wechatpay.phone import Phone
from guilder.simulators.wechatpay.refunds import Refunds
from guilder.simulators.wechatpay.staff import Staff
from guilder.simulators.wechatpay.transfers import Transfers

__all__ = ["WeChatPay", "routes"]


def routes(channel: WeChatPay) -> list[Route]:
    """Every address of WeChat Pay's, and of WeChat's."""
    door = Door(channel)
    desks = (Orders(door), Refunds(door), Bills(door), Transfers(door), Phone(channel), Staff(channel))
    return [route for desk in desks for route in desk.routes()]
