"""A start that does not waste time, and a screen that stays quick: what has to happen before the imports.

Theory of operation: a screen loads some four hundred modules and then lives with them. Python's collector
would look through all of that again and again while it loads (60 of 370 ms to the first line), and later
now and then, just when a key is pressed. So it rests until the first picture is there (longer would cost
memory: 6 MB while a thousand nodes come in); then, and again when the rack is there, what has gathered is
cleared away, what is left is taken out of its sight, and it works on, on what is new. A screen without TLS leaves OpenSSL out: 4.5 MB of 60 (see `rackberry.lean`).
"""

import gc

from rackberry.lean import without_openssl

SETTLED_S = 3.0  # after the start: the rack has been read and painted


def before_imports(*, tls: bool) -> None:
    """Call it before `rackberry_tui.app` is imported."""
    gc.disable()
    if not tls:
        without_openssl()


def settle() -> None:
    """Call it when the first picture is there, and when the rack is."""
    gc.collect()
    gc.freeze()
    gc.enable()
