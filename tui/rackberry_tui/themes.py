"""Colours: names of styles to what this terminal shows, by theme."""

from rich.style import Style
from textual.theme import Theme

from rackberry.language import LANGUAGE, Light

DARK = Theme(
    name="rackberry-dark",
    primary="#5EF9A5",
    secondary="#318DD5",
    warning="#E6B807",
    error="#DA6A4D",
    success="#5EF9A5",
    foreground="#D6DAE0",
    background="#14171C",
    surface="#14171C",
    panel="#191D23",
    dark=True,
)
LIGHT = Theme(
    name="rackberry-light",
    primary="#284E48",
    secondary="#3570B2",
    warning="#4E3A10",
    error="#B0604B",
    success="#284E48",
    foreground="#1B1D21",
    # White, and nothing darker: the signs for dead and stale have 4.5:1 on no other ground.
    background="#FFFFFF",
    surface="#FFFFFF",
    panel="#FFFFFF",
    dark=False,
)
NAMES = {"dark": "rackberry-dark", "light": "rackberry-light", "ansi": "ansi-dark"}

_ANSI: dict[Light, str] = {
    Light.READY: "green",
    Light.BUSY: "blue",
    Light.WARN: "yellow",
    Light.SUSPECT: "yellow",
    Light.DEAD: "red",
    Light.CORDONED: "default",
    Light.STALE: "bright_black",
    Light.NO_BROKER: "bright_black",
    Light.OFF: "bright_black",
}

LEVELS = {
    "dark": ("#7D72FF", "#71DDF0", "#F3FFE4", "#FFDD00", "#E0603A"),
    "light": ("#2A1A8C", "#0064FF", "#6E6A6F", "#A86400", "#8E0018"),
    "ansi": ("blue", "cyan", "default", "yellow", "red"),
}
"""Colours of the levels of a measure, cold to hot; found by search to be as far apart as the palette's test asks."""


def styles(theme: str) -> dict[str, Style]:
    """Style name -> style, for one of `NAMES`."""
    out: dict[str, Style] = {
        "plain": Style(),
        "bold": Style(bold=True),
        "reverse": Style(reverse=True),
        "dim": Style(color={"dark": "#8A8A90", "light": "#76767C"}.get(theme, "bright_black")),
        "alarm": Style(bold=True, reverse=True),
        "identify": Style(reverse=True),
    }
    for light, sign in LANGUAGE.items():
        if light is Light.IDENTIFY:
            continue
        colour = {"dark": sign.colour_dark, "light": sign.colour_light}.get(theme)
        out[str(light)] = Style(color=colour or _ANSI.get(light, "default"))
    for level, colour in enumerate(LEVELS[theme]):
        out[f"level-{level}"] = Style(color=colour)
    return out
