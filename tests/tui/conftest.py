"""The fixtures of the screen's tests."""

from own_state import own_state  # noqa: F401  # a fixture that is always there
from tui.bench import utc

__all__ = ["utc"]
