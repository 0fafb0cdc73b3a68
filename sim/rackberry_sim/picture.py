"""The curve as a picture that needs no library: SVG, readable in the dark and in print.

Theory of operation: detection time runs to the right, mistakes per node-hour upwards on a logarithmic
scale, so the lower left corner is where one wants to be. A point without any mistake stands on the lowest
line, which says so. Each detector has a colour and a shape, because colour alone says nothing to one man
in twelve.
"""

import math
from html import escape

from rackberry_sim.curve import OURS, Point

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 78, 170, 46, 58
COLOURS = {
    OURS: "#b3124b",
    "fixed timeout": "#4d4d4d",
    "chen": "#1f6fb4",
    "phi akka": "#b35c00",
    "phi cassandra": "#3a7d2c",
}
SHAPES = {
    OURS: "M-5,-5h10v10h-10z",
    "fixed timeout": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
    "chen": "M0,-6l5.5,10h-11z",
    "phi akka": "M0,-6l6,6l-6,6l-6,-6z",
    "phi cassandra": "M-5,-1.5h3.5v-3.5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5z",
}


def draw(found: list[Point], title: str, t_d_s_max: float = 5.0) -> str:
    """The SVG of a sweep; what lies beyond `t_d_s_max` is named in the legend."""
    shown = [point for point in found if point.t_d_mean_s <= t_d_s_max]
    rates = [p.mistakes_per_node_hour for p in shown if p.mistakes]
    low = math.floor(math.log10(min(rates, default=0.01)))
    high = math.ceil(math.log10(max(rates, default=1.0)))
    low -= 1  # the line of those that made no mistake

    def x_of(t_d_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * t_d_s / t_d_s_max

    def y_of(rate: float) -> float:
        power = math.log10(rate) if rate > 0 else low
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (power - low) / max(1, high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for second in range(int(t_d_s_max) + 1):
        x = x_of(second)
        parts.append(f'<path d="M{x:.1f},{TOP}V{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{second} s</text>'
        )
    for power in range(low, high + 1):
        y = y_of(10.0**power) if power > low else HEIGHT - BOTTOM
        label = "none seen" if power == low else f"{10.0**power:g}"
        parts.append(f'<path d="M{LEFT},{y:.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    middle_x = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle_x}" y="{HEIGHT - 14}" text-anchor="middle">'
        "mean time from a failure to the verdict (T_D)</text>"
    )
    parts.append(
        f'<text transform="translate(16,{(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
        'text-anchor="middle">mistakes per node-hour</text>'
    )
    for number, detector in enumerate(COLOURS):
        own = [point for point in shown if point.detector == detector]
        colour = COLOURS[detector]
        places = [(x_of(p.t_d_mean_s), y_of(p.mistakes_per_node_hour), p) for p in own]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        weight = 2.5 if detector == OURS else 1.3
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{weight}"/>'
        )
        for x, y, point in places:
            ring = ' stroke="#000" stroke-width="1.5"' if point.default else ""
            tip = (
                f"{detector} {point.setting}: T_D mean {point.t_d_mean_s:.2f} s, p99 {point.t_d_p99_s:.2f} s, "
                f"{point.mistakes} mistakes"
            )
            parts.append(
                f'<path transform="translate({x:.1f},{y:.1f})" d="{SHAPES[detector]}" fill="{colour}"{ring}>'
                f"<title>{escape(tip)}</title></path>"
            )
        y = TOP + 16 + 22 * number
        beyond = [
            p for p in found if p.detector == detector and p.t_d_mean_s > t_d_s_max and p.default
        ]
        more = f" (default: {beyond[0].t_d_mean_s:.1f} s)" if beyond else ""
        parts.append(
            f'<path transform="translate({WIDTH - RIGHT + 16},{y})" d="{SHAPES[detector]}" fill="{colour}"/>'
        )
        parts.append(f'<text x="{WIDTH - RIGHT + 28}" y="{y + 4}">{escape(detector + more)}</text>')
    y = TOP + 16 + 22 * len(COLOURS) + 8
    parts.append(
        f'<text x="{WIDTH - RIGHT + 10}" y="{y}" fill="#555">black rim: as delivered</text>'
    )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"
