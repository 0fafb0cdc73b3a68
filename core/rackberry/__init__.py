"""What every part of a rack agrees on: topics, messages, states, time and the link to the broker."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`rackberry.Client`, imported when it is asked for: the agent has no use for it."""
    if name == "Client":
        from rackberry.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
