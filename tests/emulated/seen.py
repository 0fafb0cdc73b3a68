"""Whether a trace of pins is the pattern that the LED language promises.

Theory of operation: levels and edges were seen outside of the node. A steady LED has one level and no edge. A
blinking one has edges as far apart as its steps are long. A breathing one is a fast PWM whose share of
light, a quarter of a second at a time, goes from nearly dark to nearly full.
"""

import itertools
import math
from collections.abc import Sequence

from rackberry.language import Pattern

Edge = tuple[float, int]  # seconds, level
STEP_SLACK_S = 0.15  # an emulated ARMv6 on a busy machine draws late, and the next edge on time
BREATH_WINDOW_S = 0.25


def fault(pattern: Pattern, edges: Sequence[Edge], levels: Sequence[int], span_s: float) -> str:
    """What is wrong with an LED watched for `span_s` seconds; empty when it shows the pattern.

    >>> from rackberry.language import BLINK_1_HZ, STEADY
    >>> fault(STEADY, [], [1, 1], 2.0)
    ''
    >>> fault(STEADY, [(0.3, 0)], [1, 0], 2.0)
    'steady: levels [0, 1], 1 edges'
    >>> fault(BLINK_1_HZ, [(0.1, 1), (0.6, 0), (1.1, 1), (1.6, 0)], [0, 1], 2.0)
    ''
    >>> fault(BLINK_1_HZ, [(0.1, 1), (0.4, 0), (1.1, 1), (1.4, 0)], [0, 1], 2.0)
    '1 Hz: lit for 0.30, 0.30 s instead of [0.5]'
    """
    if pattern.breathing_s is not None:
        return _breath_fault(edges, span_s)
    steps = pattern.steps
    if len(steps) == 1 and math.isinf(steps[0][0]):
        wanted = int(steps[0][1])
        right = not edges and set(levels) == {wanted}
        return "" if right else f"{pattern.name}: levels {sorted(set(levels))}, {len(edges)} edges"
    period_s = sum(length for length, _ in steps)
    least = int(span_s / period_s - 1) * len(steps)
    if len(edges) < least:
        return f"{pattern.name}: {len(edges)} edges in {span_s:.1f} s instead of {least}"
    for level, word in ((1, "lit"), (0, "dark")):
        wanted_s = [length for length, bright in steps if int(bright) == level]
        seen_s = [b[0] - a[0] for a, b in itertools.pairwise(edges) if a[1] == level]
        wrong = [s for s in seen_s if min(abs(s - w) for w in wanted_s) > STEP_SLACK_S]
        if len(wrong) > len(seen_s) // 4:  # one step in four may suffer from a busy machine
            return f"{pattern.name}: {word} for {', '.join(f'{s:.2f}' for s in wrong)} s instead of {wanted_s}"
    return ""


def shares(edges: Sequence[Edge], span_s: float) -> list[float]:
    """The share of light in each window since 0.

    >>> shares([(0.0, 1), (0.125, 0), (0.25, 1)], 0.5)
    [0.5, 1.0]
    """
    lit = [0.0] * int(span_s / BREATH_WINDOW_S)
    for (at, level), (until, _) in itertools.pairwise([*edges, (span_s, 0)]):
        for index in range(len(lit)):
            low, high = index * BREATH_WINDOW_S, (index + 1) * BREATH_WINDOW_S
            lit[index] += level * max(0.0, min(until, high) - max(at, low))
    return [seconds / BREATH_WINDOW_S for seconds in lit]


def _breath_fault(edges: Sequence[Edge], span_s: float) -> str:
    seen = shares(edges, span_s)
    if len(edges) > 20 * span_s and min(seen) < 0.35 and max(seen) > 0.65:
        return ""
    return f"breathing: {len(edges)} edges, light from {min(seen):.2f} to {max(seen):.2f}"
