"""The fixtures of the screen's tests."""

from tui.bench import utc

__all__ = ["utc"]
