"""Alipay's openapi gateway as a merchant meets it.  Facts: Alipay's open platform documentation, gateway.do."""

from guilder.simulators.alipay.channel import Alipay
from guilder.simulators.alipay.gateway import Gateway

__all__ = ["Alipay", "Gateway"]
