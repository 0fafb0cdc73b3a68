"""Lines that are renewed where they stand, in a plain terminal: no full screen, nothing to tidy up.

Theory of operation: the cursor goes up over what was last written and writes over it. That holds only while each
line takes one row and all of them fit, so lines are cut to the width and their number to the height. When the
terminal has changed its size nothing is known of where they stand, and the screen is cleared once.
"""

import re

from rackberry_tui.text import fit, width

_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
HOME_AND_CLEAR, CLEAR_RIGHT, CLEAR_BELOW, PLAIN = "\x1b[H\x1b[2J", "\x1b[K", "\x1b[J", "\x1b[0m"


def cut(line: str, cells: int) -> str:
    """A line, colours and all, in at most `cells` cells.

    >>> cut("ab\\x1b[31mcd\\x1b[0m", 3) == "ab\\x1b[31m…\\x1b[0m"
    True
    """
    parts = _COLOUR.split(line)
    if sum(width(part) for part in parts[::2]) <= cells:
        return line
    out, left, coloured = "", cells, False
    for index, part in enumerate(parts):
        if index % 2:
            out, coloured = out + part, True
        elif width(part) < left:
            out, left = out + part, left - width(part)
        elif part:
            # So long a text that what follows has no room: an ellipsis says that there was more.
            out += fit(part + " ", left) if width(part) == left else fit(part, left)
            break
    return out + (PLAIN if coloured else "")


class InPlace:
    """Writes the same few lines again and again.

    >>> place = InPlace()
    >>> place.text(["one", "two"], 80, 24)
    'one\\x1b[K\\ntwo\\x1b[K\\n\\x1b[J'
    >>> place.text(["three"], 80, 24)
    '\\x1b[2A\\rthree\\x1b[K\\n\\x1b[J'
    """

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._high = 0

    def text(self, lines: list[str], columns: int, rows: int) -> str:
        """What to write so that these lines stand where the last ones did."""
        if self._size is None:
            begin = ""
        elif self._size != (columns, rows):
            begin = HOME_AND_CLEAR
        else:
            begin = f"\x1b[{self._high}A\r" if self._high else ""
        room = max(1, rows - 1)  # the cursor stands below
        if len(lines) > room:
            lines = [*lines[: room - 1], f"and {len(lines) - room + 1} lines more than fit here"]
        self._size, self._high = (columns, rows), len(lines)
        shown = "".join(f"{cut(line, columns)}{CLEAR_RIGHT}\n" for line in lines)
        return f"{begin}{shown}{CLEAR_BELOW}"
