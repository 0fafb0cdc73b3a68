"""Doctests of what an extra brings are left out where the extra is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("aiohttp") else ["rackberry_tui/web/server.py"]
