"""The plate for a counter: its code, the store's name, the wallets that pay there.  A picture (SVG) and a page to print, of postcard size (A6).

Drawn here, of our own marks: no channel's logo is used, for each has its rules.
"""

from html import escape
from io import BytesIO

import segno

from guilder.cashier.words import Words

WIDTH, HEIGHT = 105, 148  # millimetres
_CODE = 62.0
_MARKS = {  # type: ground, and what stands on it in a square of 40
    "wechat_pay": ("#07c160", '<path fill="#fff" d="M20 9.5c-6.5 0-11.5 4.1-11.5 9.3 0 3 1.7 5.6 4.4 7.3l-.9 4 4.4-2.4c1.1.3 2.3.4 3.6.4 6.5 0 11.5-4.1 11.5-9.3S26.500 9.500 20 9.500Z"/><path fill="none" stroke="#07c160" stroke-width="2.600" stroke-linecap="round" stroke-linejoin="round" d="m14.800 18.900 3.500 3.400 6.900-6.600"/>'),
    "alipay": ("#1677ff", '<path fill="#fff" d="M11 13.500h18a2.500 2.500 0 0 1 2.500 2.500v11a2.500 2.500 0 0 1-2.500 2.500H11A2.500 2.500 0 0 1 8.500 27V16a2.500 2.500 0 0 1 2.500-2.500Z"/><path fill="#fff" d="M12 11.500 26.500 9.600a1.600 1.600 0 0 1 1.800 1.600v.8H12Z"/><circle fill="#1677ff" cx="26.500" cy="21.500" r="2.200"/>'),
    "unionpay": ("#eef1f2", '<path fill="#d7282f" d="M12.500 11h7l-3.500 18h-7Z"/><path fill="#00447c" d="M18.500 11h7l-3.500 18h-7Z"/><path fill="#00707d" d="M24.500 11h7l-3.500 18h-7Z"/>'),
    "card": ("#3b4252", '<path fill="#fff" d="M11 12h18a2.500 2.500 0 0 1 2.500 2.500V16h-23v-1.500A2.500 2.500 0 0 1 11 12ZM8.500 19h23v6.500A2.500 2.500 0 0 1 29 28H11a2.500 2.500 0 0 1-2.500-2.500Z"/>'),
    "paypal": ("#003087", '<path fill="#fff" d="M15 10h7.500c4 0 6 2.200 5.300 5.800-.8 3.900-3.500 5.700-7.300 5.700h-2.800l-1.200 6.500h-4.800Z"/>'),
    "bank_transfer": ("#5b4a36", '<path fill="#fff" d="m20 9 11.500 6v2.500h-23V15ZM11 19.500h3V27h-3Zm7.500 0h3V27h-3Zm7.500 0h3V27h-3ZM8.500 28.500h23V31h-23Z"/>'),
}  # fmt: skip
_FONT = "-apple-system, 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Noto Sans SC', 'Segoe UI', system-ui, sans-serif"


def svg(url: str, store: str, till: str | None, types: list[str], words: Words, *, test: bool) -> str:
    """The plate as a picture; a millimetre is a unit."""
    say = words.say
    code, side = _code(url)
    scale, left, top = _CODE / side, (WIDTH - _CODE) / 2, 45.0
    name = store if len(store) <= 24 else store[:23] + "…"
    size = 7.5 if len(name) <= 12 else 5.2
    marks = [t for t in types if t in _MARKS][:5]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}mm" height="{HEIGHT}mm" role="img">',
        f"<title>{escape(store)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/><rect width="{WIDTH}" height="36" fill="#17181c"/>',
        _text(name, 20, size, "#fff", 600),
        _text(till or say("Scan to pay"), 28.5, 4, "#c9c8c2", 400),
        f'<rect x="{left - 5}" y="{top - 5}" width="{_CODE + 10}" height="{_CODE + 10}" rx="5" fill="#fff" stroke="#e3e1da" stroke-width=".5"/>',
        f'<g transform="translate({left} {top}) scale({scale:.5f})">{code}</g>',
        _text(say("Scan with any of these"), 121.5, 4, "#5a5e67", 400),
    ]
    for i, type in enumerate(marks):
        x = WIDTH / 2 + (i - (len(marks) - 1) / 2) * 15 - 5.5
        ground, drawn = _MARKS[type]
        parts.append(
            f'<g transform="translate({x:.2f} 126) scale(.275)"><rect width="40" height="40" rx="11" fill="{ground}"/>{drawn}</g>'
        )
    if test:
        parts.append(_text(say("Test mode"), 145, 3.2, "#6a4a00", 600))
    return "".join([*parts, "</svg>"])


def _code(url: str) -> tuple[str, int]:
    """The code's modules as one path, and how many there are to a side."""
    made, out = segno.make(url, error="m", micro=False), BytesIO()
    made.save(out, kind="svg", border=0, xmldecl=False, svgns=False, omitsize=True, nl=False)
    drawn = out.getvalue().decode()
    return drawn[drawn.index("<path") : drawn.rindex("</svg>")], int(made.symbol_size(border=0)[0])


def _text(said: str, y: float, size: float, fill: str, weight: int) -> str:
    return (
        f'<text x="{WIDTH / 2}" y="{y}" text-anchor="middle" font-family="{_FONT}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}">{escape(said)}</text>'
    )
