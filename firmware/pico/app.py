"""The loop that joins the node to its pins, its Wi-Fi and its broker.

Theory of operation: shell; one thread, and nothing in it waits except `poll`, for at most `LOOK_MS`. Every
turn looks at the pins, the sensors, the socket and the clock, hands what it finds to the node as facts,
and carries out the effects in their order. The watchdog is fed once a turn, so a turn that never
ends, ends the node; its last will tells the rack.
"""

import errno
import select
import time

from backoff import Backoff
from clock import Clock, TimeServer
from envelope import Stamper
from link import UP, Link, LinkError
from node import Node
from transport import Transport
from wifi import Wifi

from hardware import Pins, Sensors, Vitals

LOOK_MS = 10  # between looks at the pins: a third of the settle time
VITALS_MS = 1000
FLUSH_MS_MAX = 2000
RECEIVES_MAX = 8  # pieces read in one turn: the pins want to be looked at, too


class App:
    """One life of a node, from start to goodbye.

    Args:
        settings: of `settings.check`.
        board: the module `board`.
        incarnation: 8 hex digits, new at each start.
        chance: gives a random whole number from 0 to 65535.
        set_clock: see `clock.TimeServer`.
        feed: called once a turn; feeds the watchdog.
        ticks: see `clock.Clock`.
    """

    def __init__(
        self,
        settings,
        board,
        model,
        incarnation,
        boot_id,
        chance,
        set_clock,
        feed,
        ticks=time.ticks_ms,
    ):
        me = settings["node"]
        self._clock = Clock(ticks)
        self._feed = feed
        self._pins = Pins(board)
        self._wifi = Wifi(settings, chance)
        self._sensors = Sensors(board, self._wifi)
        self._vitals = Vitals()
        self._time_server = TimeServer(settings["ntp_host"], set_clock)
        self._node = Node(settings, board, boot_id, model, chance, self._vitals.memory_bytes)
        filters = ("cmd/%s/+" % me, "master/verdict/%s" % me)
        stamper = Stamper(settings["root"], me, incarnation)
        self._link = Link(
            stamper, filters, settings["keepalive_s"], settings["username"], settings["password"]
        )
        self._poller = select.poll()
        self._transport = Transport(settings, self._poller)
        self._backoff = Backoff(200, 4000, chance)
        self._opened_ms = None
        self._retry_ms = 0
        self._vitals_ms = 0
        self._told_dropped = 0
        self._ended = None
        self.interrupted = False  # somebody pressed Ctrl-C at the console

    def run(self):
        """Live until somebody asks for the end; returns the reason."""
        try:
            while self._ended is None:
                self.turn()
        except KeyboardInterrupt:
            self.interrupted = True
            self.event(("stop", "interrupted at the console"))
        self._flush()
        self._disconnect(None)
        self._pins.dark()
        self._wifi.off()
        return self._ended

    def turn(self):
        """One turn of the loop."""
        now_ms = self._clock.now_ms()
        if now_ms >= self._vitals_ms:
            self._vitals_ms = now_ms + VITALS_MS
            self._node.clock_synced = self._time_server.synced
            vitals, figures = self._vitals.read(now_ms)
            self.event(("vitals", vitals, figures))
        for name, pin, active_low in self._pins.inputs:
            self.event(("pin", name, bool(pin.value()) != active_low))
        in_wifi = self._wifi.step(now_ms)
        for event in self._sensors.step(now_ms, in_wifi):
            self.event(event)
        if in_wifi:
            self._time_server.step(now_ms)
        self._network(in_wifi, now_ms)
        if self._link.dropped != self._told_dropped:
            self._told_dropped = self._link.dropped
            self.event(("dropped", self._told_dropped))
        now_ms = self._clock.now_ms()
        due_ms = self._node.next_deadline_ms()
        if now_ms >= due_ms:
            self.event(("tick", now_ms - due_ms))
        self._feed()
        self._rest(min(LOOK_MS, max(0, self._node.next_deadline_ms() - now_ms)))

    def _rest(self, wait_ms):
        began_us = time.ticks_us()
        if self._transport.open:
            if self._transport.connected:
                self._transport.wait_to_send(self._link.head() is not None)
            self._poller.poll(wait_ms)
        else:
            time.sleep_ms(wait_ms)
        self._vitals.rested(time.ticks_diff(time.ticks_us(), began_us))

    def event(self, event):
        """Hand a fact to the node and carry out what it asks for."""
        now_ms, wall_ms = self._clock.now_ms(), self._clock.wall_ms()
        for effect in self._node.handle(event, now_ms, wall_ms):
            kind = effect[0]
            if kind == "publish":
                _, route, ids, data, qos = effect
                self._link.publish(route, ids, data, wall_ms, now_ms, qos)
            elif kind == "set":
                self._pins.set(effect[1], effect[2], effect[3])
            elif kind == "read back":
                # At once, before the effects that follow: a goodbye stays the last word.
                self.event(("lit", effect[1], self._pins.read_back(effect[1])))
            elif kind == "log":
                print(effect[1])
            else:
                self._ended = effect[1]

    # --- the broker -------------------------------------------------------------------------------

    def _network(self, in_wifi, now_ms):
        try:
            if not self._transport.open:
                if in_wifi and now_ms >= self._retry_ms:
                    self._opened_ms = now_ms
                    self._transport.connect()
                return
            if not in_wifi:
                raise LinkError("the Wi-Fi is gone")
            if not self._transport.connected:
                self._wait_for_connection(now_ms)
            if self._transport.connected:
                self._exchange(now_ms)
        except OSError as error:
            lost = self._link.state == UP
            kind = "lost" if lost else "unreachable"
            self._disconnect(("down", _words(error, lost), kind))
        except LinkError as error:
            self._disconnect(("down", error.reason, error.kind))

    def _wait_for_connection(self, now_ms):
        if self._transport.ready():
            self._link.opened(self._node.will(), self._clock.wall_ms(), now_ms)
        elif now_ms - self._opened_ms > 5000:
            raise OSError(errno.ETIMEDOUT)

    def _exchange(self, now_ms):
        for _ in range(RECEIVES_MAX):
            data = self._transport.receive()
            if data is None:
                break
            for event in self._link.received(data, now_ms):
                self.event(event)
        self._link.pump(self._clock.now_ms())
        self._send()

    def _send(self):
        while True:
            head = self._link.head()
            if head is None:
                return
            taken = self._transport.send(head)
            if not taken:
                return
            self._link.sent(taken)

    def _disconnect(self, event):
        now_ms = self._clock.now_ms()
        lasted_ms = now_ms - self._opened_ms if self._link.state == UP else None
        self._transport.close()
        self._link.closed()
        self._retry_ms = now_ms + self._backoff.wait_ms(lasted_ms)
        if event is not None:
            self.event(event)

    def _flush(self):
        """Send what is left, goodbye included, but do not wait for a broker that does not answer."""
        until_ms = self._clock.now_ms() + FLUSH_MS_MAX
        told = False
        while self._link.state == UP and self._clock.now_ms() < until_ms:
            self._feed()
            if self._link.idle:
                if told:
                    return
                self._link.farewell()
                told = True
            try:
                self._exchange(self._clock.now_ms())
            except (OSError, LinkError):
                return  # whoever closes the connection after our goodbye is in the right
            time.sleep_ms(5)


def _words(error, lost):
    code = error.args[0] if error.args else None
    if lost:
        return "the connection to the broker broke: %s" % errno.errorcode.get(code, error)
    if code == errno.ETIMEDOUT:
        return "no broker answers within 5 s"
    return "no broker answers: %s" % errno.errorcode.get(code, error)
