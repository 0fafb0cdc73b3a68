"""How much of its speed a node should be trusted with: heat, throttling, weak supply, with hysteresis.

Theory of operation: each discomfort halves a node's weight and stays until it has been absent for a
while (or, for heat, until the node is clearly cooler), so that work does not swing to and fro with the
very heat that it makes. Nothing here takes a node out of work: that is the operator's, the detector's
or the canary's to do.

The bits are those of `vcgencmd get_throttled` (Raspberry Pi documentation): 0 under-voltage, 1 frequency
capped, 2 throttled, 3 soft temperature limit. A Pi throttles at 80 degrees; work should leave before.
"""

from dataclasses import dataclass

from rackberry.messages import Vitals

HOT_C = 77.0
COOL_C = 70.0
CLEAR_S = 60.0  # a discomfort is over when it was not seen for so long
UNDER_VOLTAGE = 0b0001
SLOWED = 0b1110
NEVER = float("-inf")


@dataclass(slots=True)
class Comfort:
    """The discomforts of one node.

    >>> comfort = Comfort()
    >>> comfort.see(Vitals(cpu_temp_c=81.0), now=0.0)
    >>> comfort.weight(0.0), comfort.words(0.0)
    (0.5, 'hot at 81 °C')
    >>> comfort.see(Vitals(cpu_temp_c=75.0), now=1.0)   # cooler, not yet cool
    >>> comfort.weight(1.0)
    0.5
    """

    hot: bool = False
    temp_c: float | None = None
    under_voltage_s: float = NEVER
    slowed_s: float = NEVER

    def see(self, vitals: Vitals, now: float) -> None:
        """Take a node's vitals in."""
        if vitals.cpu_temp_c is not None:
            self.temp_c = vitals.cpu_temp_c
            self.hot = self.temp_c >= HOT_C or (self.hot and self.temp_c > COOL_C)
        bits = vitals.throttled_bits or 0
        if bits & UNDER_VOLTAGE:
            self.under_voltage_s = now
        if bits & SLOWED:
            self.slowed_s = now

    def weight(self, now: float) -> float:
        """1 for a comfortable node, halved for each discomfort."""
        weight = 0.5 if self.hot else 1.0
        if now - self.under_voltage_s < CLEAR_S:
            weight *= 0.5
        if now - self.slowed_s < CLEAR_S:
            weight *= 0.5
        return weight

    def words(self, now: float) -> str:
        """The discomforts in words, or nothing."""
        said = [f"hot at {self.temp_c:.0f} °C"] if self.hot else []
        if now - self.under_voltage_s < CLEAR_S:
            said.append("under-voltage")
        if now - self.slowed_s < CLEAR_S:
            said.append("throttled")
        return ", ".join(said)
