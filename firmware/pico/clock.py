"""Monotonic milliseconds that do not wrap, wall time, and the time server.

Theory of operation: shell. `ticks_ms` starts again at zero every 12.4 days on an RP2040; `Clock` adds up
its differences, for which it must be asked at least once in 6 days; the loop asks every few
milliseconds. A Pico has no clock that runs without power, so wall time is a guess until a time server
has answered one UDP packet (SNTP, RFC 4330); people read it, nothing decides by it.
"""

import socket
import time

EPOCH_DELTA_S = 2208988800  # from 1900, where NTP counts, to 1970
ASK_MS = 60000  # between questions while nobody answers
AGAIN_MS = 6 * 3600 * 1000  # a Pico's crystal drifts by up to 0.7 s in that time (30 ppm)


class Clock:
    """What time it is. `ticks` is `time.ticks_ms`, or anything with the same wrap for `ticks_diff`."""

    def __init__(self, ticks=time.ticks_ms):
        self._ticks = ticks
        self._last = ticks()
        self._now_ms = 0

    def now_ms(self):
        """Monotonic milliseconds since this was made."""
        ticks = self._ticks()
        self._now_ms += max(0, time.ticks_diff(ticks, self._last))
        self._last = ticks
        return self._now_ms

    def wall_ms(self):
        """Milliseconds since 1970 UTC, or since the Pico's own beginning of time."""
        return time.time_ns() // 1000000


class TimeServer:
    """Asks for the time now and then and never waits for the answer.

    Args:
        host: its address; a name is looked up when the first question is asked.
        set_clock: called with (year, month, day, weekday, hour, minute, second, 0) in UTC.
        port: 123, except in tests.
    """

    def __init__(self, host, set_clock, port=123):
        self._host = host
        self._port = port
        self._set_clock = set_clock
        self._sock = None
        self._due_ms = 0
        self.synced = False

    def step(self, now_ms):
        """Ask when it is time to, and take the answer when it is there."""
        if not self._host:
            return
        if now_ms >= self._due_ms:
            self._due_ms = now_ms + ASK_MS
            self._ask()
        if self._sock is not None:
            self._listen(now_ms)

    def _ask(self):
        self._close()
        try:
            address = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_DGRAM)[0][-1]
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sock.setblocking(False)
            self._sock.sendto(b"\x1b" + b"\0" * 47, address)
        except OSError:
            self._close()  # asked again in a minute

    def _listen(self, now_ms):
        try:
            answer = self._sock.recv(48)
        except OSError:
            return
        # Mode 4 (server), a stratum that is not "kiss of death", a time that is set.
        if len(answer) == 48 and answer[0] & 7 == 4 and 1 <= answer[1] <= 15 and any(answer[40:44]):
            seconds = int.from_bytes(answer[40:44], "big") - EPOCH_DELTA_S
            if seconds < 0:
                seconds += 1 << 32  # the counter of seconds begins anew in 2036
            year, month, day, hour, minute, second, weekday, _ = time.gmtime(seconds)[:8]
            self._set_clock((year, month, day, weekday, hour, minute, second, 0))
            self.synced = True
            self._due_ms = now_ms + AGAIN_MS
        self._close()

    def _close(self):
        if self._sock is not None:
            self._sock.close()
            self._sock = None
