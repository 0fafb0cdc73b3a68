"""What is not to be looked into for doctests: what is generated, and what needs an extra that is not here.

The only conftest outside a package: pytest knows them all by one name.
"""

from importlib.util import find_spec

NEEDS = {"tui/rackberry_tui/web/server.py": "aiohttp"}
collect_ignore = [
    "hardware/generated",
    *(path for path, package in NEEDS.items() if find_spec(package) is None),
]
