"""What a node's LEDs show against what they should show.

Theory of operation: the node reports what it reads back from its pins; the master knows from the same
table (`rackberry.language`) what they should show. A difference that lasts longer than `GRACE_S` is an
event, because a person in front of the rack acts on what the LED says.
"""

from rackberry.language import Light
from rackberry.states import Liveness
from rackberry_master.desk import Desk
from rackberry_master.membership import Member

GRACE_S = 2.0
# The node's own overlay, its own work and its own view of a broker that has just come back.
NODES_OWN = frozenset({Light.IDENTIFY, Light.BUSY, Light.NO_BROKER})


class LedWatch:
    """Compares, waits, and tells once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def compare(self, member: Member, now: float) -> None:
        """Something changed on one of the two sides."""
        wrong = _wrong(member)
        if not wrong:
            if member.led_wrong_told:
                self._desk.tell(
                    now,
                    "led-right",
                    "info",
                    f"{member.node}: its LEDs are right again",
                    node=member.node,
                )
            member.led_due_s = None
            member.led_wrong_told = False
        elif member.led_due_s is None and not member.led_wrong_told:
            member.led_due_s = now + GRACE_S
            self._desk.agenda.schedule(member.node, member.led_due_s)

    def look(self, member: Member, now: float) -> None:
        """Tell what is wrong, if the grace is over and it still is."""
        if member.led_due_s is None or now < member.led_due_s:
            return
        member.led_due_s = None
        if wrong := _wrong(member):
            member.led_wrong_told = True
            self._desk.tell(
                now,
                "led-mismatch",
                "warn",
                f"{member.node}: {wrong}",
                "do not trust that LED on the rack until this is mended",
                node=member.node,
            )


def _wrong(member: Member) -> str:
    """What is wrong with the LEDs of a node that is there, or nothing."""
    if member.liveness is not Liveness.ALIVE:
        return ""
    for name, report in sorted(member.leds.items()):
        if report.error:
            return f"its LED {name} does not do what it is told: {report.error}"
        if report.points_at_slot is not None:
            continue  # tells of another node, by verdicts that the master itself has given
        if report.shows is not member.light and report.shows not in NODES_OWN:
            return f"its LED {name} shows {report.shows}, it should show {member.light}"
    return ""
