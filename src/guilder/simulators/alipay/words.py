"""How Alipay's bills write times and names."""

from guilder.simulators.clock import stamp


def long_stamp(ms: int) -> str:
    """2019年09月16日 00:00:00"""
    text = stamp(ms)
    return f"{text[:4]}年{text[5:7]}月{text[8:10]}日 {text[11:]}"


def plain(text: str) -> str:
    """The format has no quoting: a comma or line end in a name would shift the columns."""
    return " ".join(text.replace(",", "，").split())
