"""UnionPay's gateway, ACP 5.1.0, as a merchant meets it.  Facts: UnionPay's open platform and official demo.

Where the documentation is silent the harder answer is given: an order asked for twice is refused with 12 and its code not shown again, and one
that nobody paid stays "accepted" after its payTimeout.
"""

from guilder.simulators.unionpay.certificates import platform_keys
from guilder.simulators.unionpay.channel import UnionPay
from guilder.simulators.unionpay.gateway import Gateway

__all__ = ["Gateway", "UnionPay", "platform_keys"]
