"""Leaving things safe: what is done for an agent that was killed.

Theory of operation: an agent that ends makes its fans full, its outputs safe and its LEDs dark. One that was
killed cannot, and pins and PWMs stay as they were. So whoever starts agents runs
`rackberry-agent --make-safe` when one has ended, however it did: systemd's ExecStopPost. It opens the
pins, which makes them safe, and gives them back. Nothing of the broker is imported for it.
"""

from typing import Any

from rackberry_agent.cooling import Cooling
from rackberry_agent.pins import Pins, make_factory
from rackberry_agent.settings import AgentSettings, temperatures


def make_cooling(settings: AgentSettings, factory: Any) -> Cooling:
    """The fans of a node, full so far.

    Raises:
        PinError: when a pin cannot be had.
    """
    return Cooling(settings.fans, factory, {"cpu": settings.vitals_s, **temperatures(settings)})


def make_safe(settings: AgentSettings) -> list[str]:
    """Fans full, outputs safe, LEDs dark; returns why some fans are not full.

    Raises:
        PinError: when the pins cannot be had.
    """
    factory = make_factory(settings.pins.factory)
    pins = Pins(settings, factory, lambda _fact: None)
    try:
        return make_cooling(settings, factory).full()
    finally:
        pins.close()
