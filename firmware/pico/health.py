"""Whether the node is well: rules with hysteresis, each with its reason in words.

Theory of operation: pure. A rule raises at one figure and lowers at another, so that a value which
hovers between them does not flap. A value that could not be read lowers nothing.

The limits of temperature keep 5 degrees from the 85 C to which the RP2040 is rated (RP2040 datasheet,
recommended operating conditions). Memory is judged after a collection.
"""

# vital: (words, unit, warn at, critical at, well again from); falling figures have warn < well
RULES = {
    "cpu_temp_c": ("the chip is at", "C", 70, 80, 65),
    "free_percent": ("free memory is at", "%", 15, 8, 20),
}
GRADES = ("ok", "warn", "critical")
REASONS_MAX = 16


class Health:
    """Judges vitals and sensor errors; remembers only the grade of each rule."""

    def __init__(self):
        self._grades = dict.fromkeys(RULES, 0)

    def judge(self, figures, errors, alarms=()):
        """(condition, [reason, ...]) for the figures of `RULES`, {sensor: error} and alarms in words."""
        reasons = []
        for name in sorted(RULES):
            value = figures.get(name)
            if value is not None:
                self._grades[name] = _grade(value, self._grades[name], RULES[name])
            if self._grades[name] and value is not None:
                words, unit, warn, _, well = RULES[name]
                bound = "below" if warn > well else "above"
                reasons.append(
                    "%s %d %s, well is %s %d %s" % (words, value, unit, bound, well, unit)
                )
        worst = max(self._grades.values())
        for words in alarms:
            worst = max(worst, 1)
            reasons.append(words)
        for sensor in sorted(errors):
            worst = max(worst, 1)
            reasons.append("sensor %s: %s" % (sensor, errors[sensor]))
        return GRADES[worst], reasons[:REASONS_MAX]


def _grade(value, before, rule):
    """The next grade of a rule: 0 ok, 1 warn, 2 critical."""
    _, _, warn, critical, well = rule
    if warn < well:  # the lower the worse
        value, warn, critical, well = -value, -warn, -critical, -well
    if value >= critical:
        return 2
    if value >= warn:
        # Critical ends half-way down to warn, for the same reason.
        return before if before and value > (warn + critical) / 2 else 1
    return min(before, 1) if value > well else 0
