"""The six state colours stay apart for everybody, and stand out from their background.

Theory: colours are moved through the vision of protanopes and deuteranopes by the matrices of Machado,
Oliveira and Fernandes 2009 (severity 1.0, in linear light) and of tritanopes by that of the same paper; the
distance is CIEDE2000 (Sharma, Wu and Dalal 2005); the contrast is that of WCAG 2.1.
"""

import math
from itertools import combinations

import pytest

from rackberry.language import LANGUAGE, Light
from rackberry_tui.themes import DARK, LEVELS, LIGHT

SIX = (Light.READY, Light.BUSY, Light.WARN, Light.DEAD, Light.CORDONED, Light.STALE)
VISION = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
APART_MIN = 16.0
CONTRAST_MIN = 4.5
GROUNDS = {
    name: {theme.background, theme.surface, theme.panel}
    for name, theme in (("dark", DARK), ("light", LIGHT))
}

Triple = tuple[float, float, float]


def linear(colour: str) -> Triple:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return r, g, b


def times(matrix: tuple[tuple[float, ...], ...], v: Triple) -> Triple:
    x, y, z = (sum(a * b for a, b in zip(row, v, strict=True)) for row in matrix)
    return x, y, z


def lab(rgb: Triple) -> Triple:
    to_xyz = (
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    )
    clipped = tuple(min(1.0, max(0.0, c)) for c in rgb)
    xyz = times(to_xyz, clipped)
    white = (0.95047, 1.0, 1.08883)

    def f(t: float) -> float:
        return t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29

    x, y, z = (f(c / w) for c, w in zip(xyz, white, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def ciede2000(one: Triple, two: Triple) -> float:
    (l1, a1, b1), (l2, a2, b2) = one, two
    c_mean = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(c_mean**7 / (c_mean**7 + 25**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = math.degrees(math.atan2(b1, a1)) % 360, math.degrees(math.atan2(b2, a2)) % 360
    dl, dc = l2 - l1, c2 - c1
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    dh = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn) / 2)
    l_mean, c_mean = (l1 + l2) / 2, (c1 + c2) / 2
    h_mean = h1 + h2 if c1 * c2 == 0 else (h1 + turn / 2) % 360
    t = (
        1
        - 0.17 * math.cos(math.radians(h_mean - 30))
        + 0.24 * math.cos(math.radians(2 * h_mean))
        + 0.32 * math.cos(math.radians(3 * h_mean + 6))
        - 0.20 * math.cos(math.radians(4 * h_mean - 63))
    )
    s_l = 1 + 0.015 * (l_mean - 50) ** 2 / math.sqrt(20 + (l_mean - 50) ** 2)
    s_c, s_h = 1 + 0.045 * c_mean, 1 + 0.015 * c_mean * t
    r_c = 2 * math.sqrt(c_mean**7 / (c_mean**7 + 25**7))
    r_t = -r_c * math.sin(math.radians(60 * math.exp(-(((h_mean - 275) / 25) ** 2))))
    return math.sqrt(
        (dl / s_l) ** 2 + (dc / s_c) ** 2 + (dh / s_h) ** 2 + r_t * (dc / s_c) * (dh / s_h)
    )


# Pairs 1, 4, 7, 13, 17 and 25 of the test data that Sharma, Wu and Dalal publish with the formula.
@pytest.mark.parametrize(
    ("one", "two", "distance"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((50.0, 2.5, 0.0), (50.0, 3.2592, 0.3350), 1.0000),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ],
)
def test_the_distance_is_the_published_one(one, two, distance):
    assert ciede2000(one, two) == pytest.approx(distance, abs=1e-4)


def colour_of(light: Light, theme: str) -> str:
    sign = LANGUAGE[light]
    return sign.colour_dark if theme == "dark" else sign.colour_light


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("vision", list(VISION))
def test_the_six_stay_apart(theme, vision):
    seen = {light: lab(times(VISION[vision], linear(colour_of(light, theme)))) for light in SIX}
    for one, two in combinations(SIX, 2):
        assert ciede2000(seen[one], seen[two]) >= APART_MIN, (one, two)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("light", [*SIX, *range(5)])
def test_all_stand_out_from_the_background(theme, light):
    colour = LEVELS[theme][light] if isinstance(light, int) else colour_of(light, theme)

    def luminance(colour: str) -> float:
        r, g, b = linear(colour)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for ground in GROUNDS[theme]:
        one, two = luminance(colour), luminance(ground)
        contrast = (max(one, two) + 0.05) / (min(one, two) + 0.05)
        assert contrast >= CONTRAST_MIN, ground


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("vision", list(VISION))
def test_the_levels_of_a_measure_stay_apart(theme, vision):
    seen = [lab(times(VISION[vision], linear(colour))) for colour in LEVELS[theme]]
    for one, two in combinations(range(len(seen)), 2):
        assert ciede2000(seen[one], seen[two]) >= APART_MIN, (one, two)


def test_no_two_states_share_a_glyph_or_an_ascii_sign():
    for signs in (
        [sign.glyph for sign in LANGUAGE.values()],
        [sign.ascii for sign in LANGUAGE.values()],
    ):
        assert len(set(signs)) == len(signs)
