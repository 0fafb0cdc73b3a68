"""Text from the broker is hostile until it has been through here.

Theory of operation: names, reasons and errors come from other machines and end on a terminal. `clean`
takes away everything that a terminal would obey instead of print (C0 and C1 controls, escape
sequences, bidirectional overrides) or draw as wide as it likes, and collapses white space. `fit` counts
cells, not characters: wide characters take two, combining ones none.
"""

import unicodedata

# Explicit bidirectional controls reorder what stands beside them (Unicode Standard Annex #9).
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# They ask for the picture form of the character before; terminals disagree how wide that is.
_VARIATIONS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# Old and new tables of Unicode, and so terminals, disagree about the width of these: loose parts of
# Hangul syllables and their fillers, hexagrams and trigrams, counting rods, skin tones.
_CONTESTED = frozenset(
    chr(code)
    for first, last in (
        (0x115F, 0x11FF), (0x2630, 0x2637), (0x268A, 0x268F), (0x3164, 0x3164), (0x4DC0, 0x4DFF),
        (0xD7B0, 0xD7FF), (0xFFA0, 0xFFA0), (0x1D300, 0x1D376), (0x1F3FB, 0x1F3FF),
    )
    for code in range(first, last + 1)
)  # fmt: skip
MARKS_MAX = 3  # accents on one letter: enough for every script, too few to climb over other lines
_MARKS = frozenset({"Mn", "Me", "Mc"})
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str, most: int = 500) -> str:
    """`text` with nothing in it that a terminal obeys, at most `most` characters.

    >>> clean("a\\x1b[31mb\\u202ec\\nd")
    'a[31mbc d'
    """
    if text.isascii() and text.isprintable() and len(text) <= most:
        return " ".join(text.split())
    kept: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", text[: 4 * most]):
        if char in "\n\r\t\v\f":
            kept.append(" ")
            continue
        category = unicodedata.category(char)
        if char in _BIDI or category in _HIDDEN or char in _VARIATIONS:
            continue
        marks = marks + 1 if category in _MARKS else 0
        if marks <= MARKS_MAX:
            kept.append("?" if char in _CONTESTED else char)
    joined = " ".join("".join(kept).split())
    return joined if len(joined) <= most else joined[: most - 1] + "…"


def width(text: str) -> int:
    """Cells that `text` takes on a terminal.

    >>> width("abc"), width("温度"), width("e\\u0301")
    (3, 4, 1)
    """
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if char < "\u0300":
        return 1
    if unicodedata.category(char) in _MARKS or unicodedata.category(char) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def fit(text: str, cells: int) -> str:
    """`text` cut or filled to exactly `cells` cells; a cut is shown by an ellipsis.

    >>> fit("node-1", 4), fit("ab", 4), fit("温度計", 4)
    ('nod…', 'ab  ', '温… ')
    """
    if cells <= 0:
        return ""
    if text.isascii():
        return text.ljust(cells) if len(text) <= cells else text[: cells - 1] + "…"
    if width(text) <= cells:
        return text + " " * (cells - width(text))
    out, used = "", 0
    for char in text:
        size = _cells(char)
        if used + size > cells - 1:
            break
        out += char
        used += size
    return out + "…" + " " * (cells - 1 - used)


def age(seconds: float | None) -> str:
    """How long ago, short: 0.4 s, 42 s, 1:49, 3:12:04, 12 d.

    >>> [age(s) for s in (0.44, 42.4, 109, 11524, 1e6, None)]
    ['0.4 s', '42 s', '1:49', '3:12:04', '11 d', '-']
    """
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes}:{rest:02d}"
    if hours < 48:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{hours // 24} d"


def size(count: float | None) -> str:
    """Bytes with a binary unit.

    >>> size(512 * 2**20), size(None)
    ('512 MiB', '-')
    """
    if count is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"


_PLAIN = str.maketrans(
    {"°": " ", "…": "~", "≥": ">", "·": ".", "─": "-", "│": "|", "█": "#", "░": "."}
)


def plain(text: str) -> str:
    """`text` in ASCII and as wide as before, for a terminal that has no more than that.

    >>> plain("22 °C …"), plain("温 é")
    ('22  C ~', '?? ?')
    """
    if text.isascii():
        return text
    return "".join(
        char if char.isascii() else "?" * _cells(char) for char in text.translate(_PLAIN)
    )


_BARS = "▁▂▃▄▅▆▇█"
_BARS_ASCII = "_.-=+*#@"


def spark(values: list[float], cells: int, top: float = 100.0, *, ascii_only: bool = False) -> str:
    """The newest `cells` values as bars from 0 to `top`.

    >>> spark([0, 50, 100], 5)
    '  ▁▅█'
    """
    bars = _BARS_ASCII if ascii_only else _BARS
    shown = [bars[min(7, max(0, int(value / top * 8)))] for value in values[-cells:]]
    return "".join(shown).rjust(cells)


def trend(values: list[float], cells: int, *, ascii_only: bool = False) -> str:
    """The newest `cells` values as bars between the least and the greatest of them.

    >>> trend([20.0, 20.5, 21.0], 4), trend([5.0, 5.0], 2)
    (' ▁▄█', '▄▄')
    """
    shown = values[-cells:]
    low, high = (min(shown), max(shown)) if shown else (0.0, 0.0)
    span = high - low
    if not 0 < span < float("inf"):
        return spark([45.0] * len(shown), cells, ascii_only=ascii_only)
    return spark([99.9 * (v - low) / span for v in shown], cells, ascii_only=ascii_only)


_STATES = {
    "button": ("pressed", "released"),
    "contact": ("open", "closed"),
    "motion": ("motion", "still"),
    "leak": ("wet", "dry"),
    "smoke": ("smoke", "clear"),
    "relay": ("on", "off"),
}


def on_or_off(kind: str, active: bool) -> str:
    """The state of a sensor that is on or off, in a word for its kind.

    >>> on_or_off("contact", True), on_or_off("relay", False), on_or_off("lever", True)
    ('open', 'off', 'active')
    """
    became, ceased = _STATES.get(kind, ("active", "inactive"))
    return became if active else ceased
