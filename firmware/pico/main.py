"""Starts a Rackberry node on a Pico W. MicroPython runs this file after each reset.

Theory of operation: settings first, and nothing else when they are wrong: the sentence stands on the
serial console, and the prompt is there to mend them. A failure that nobody foresaw is printed and
followed by a reset, with a pause so that a person can read it; the last will has told the rack by then.
After a goodbye the node stays quiet until its button is pressed or its power is cycled.
"""

import gc
import os
import sys
import time

import board
import machine
import settings

WATCHDOG_MS = 8000  # the RP2040's longest is 8388
GARBAGE_BYTES = 16384  # about seven heartbeats' worth; a collection takes some 5 ms
PAUSE_MS = 5000


def chance():
    """A random whole number from 0 to 65535."""
    return int.from_bytes(os.urandom(2), "big")


def random_hex(count):
    """`count` random bytes as hex digits."""
    return "".join("%02x" % byte for byte in os.urandom(count))


def start(**more):
    """Live one life; returns what feeds the watchdog, or None when somebody wants the console.

    Raises:
        settings.SettingsError: one sentence on what to mend.
    """
    chosen = settings.load()
    settings.check_board(board)
    feed = _no_watchdog
    if chosen["watchdog"]:
        feed = machine.WDT(timeout=WATCHDOG_MS).feed
    # Collecting early and often keeps the heap in one piece; by the time it is full it is in crumbs.
    gc.threshold(GARBAGE_BYTES)
    # Imported late: whoever only has to mend a setting shall read about that and nothing else.
    from app import App

    app = App(
        chosen,
        board,
        getattr(sys.implementation, "_machine", sys.platform)[:120],
        random_hex(4),
        random_hex(8),
        chance,
        machine.RTC().datetime,
        feed,
        **more,
    )
    reason = app.run()
    print("said goodbye: %s" % reason)
    return None if app.interrupted else feed


def _no_watchdog():
    pass


def rest(feed):
    """Stay quiet until a button is pressed; the watchdog, which cannot be stopped, is fed."""
    from hardware import Pins

    kinds = {one["name"]: one["kind"] for one in board.INPUTS}
    inputs = Pins(board).inputs
    while True:
        for name, pin, active_low in inputs:
            if kinds[name] == "button" and bool(pin.value()) != active_low:
                machine.reset()
        feed()
        time.sleep_ms(50)


def main():
    """Run the node; ends the program only when there is something for a person to do."""
    try:
        feed = start()
    except settings.SettingsError as error:
        print("rackberry: %s" % error)
        return
    except Exception as error:
        sys.print_exception(error)
        time.sleep_ms(PAUSE_MS)
        machine.reset()
        return
    if feed is not None:
        rest(feed)


if __name__ == "__main__":
    main()
