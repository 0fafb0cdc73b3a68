"""A session with the broker: what to send, in which order, and what to keep while it is away.

Theory of operation: pure; `now_ms` (monotonic milliseconds) is passed in, bytes come in by `received`
and go out by `head` and `sent`. The rules are those of the node agent's link:

- Every connection carries its own last will, stamped with its own session.
- Nothing goes out on a connection before the birth, although other messages were there earlier.
- Of what waits when a connection ends, only non-retained QoS 1 messages (edges, replies) are kept, the
  newest `KEPT_MAX` of them, and those that the broker had not acknowledged go again. Retained state is
  published afresh by the node when the link comes up.
- A newer message on a retained topic replaces an older one that still waits: newest wins.
- A broker that says nothing for one and a half keepalives is lost, whatever the socket thinks.
- Messages are stamped when they leave, so what was dropped leaves no gap in `seq`.
"""

import contract
import mqtt
from envelope import topic_of

KEPT_MAX = 32  # messages kept while the broker is away, newest win: about 10 KiB of heap
INFLIGHT_MAX = 8  # QoS 1 messages that wait for the broker's word
OUT_BYTES_MAX = 6144  # handed to the socket and not yet taken by it
CONNACK_MS_MAX = 5000

DOWN = 0
CONNECTING = 1
UP = 2


class LinkError(Exception):
    """The connection must be closed; `kind` is lost or refused, as in the contract's LinkDown."""

    def __init__(self, reason, kind="lost"):
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


class Link:
    """One node's way to its broker.

    Args:
        stamper: an `envelope.Stamper`.
        filters: topics below the root to subscribe to.
        keepalive_s: the broker publishes our last will after 1.5 times this silence.
    """

    def __init__(self, stamper, filters, keepalive_s, username="", password=""):
        self._stamper = stamper
        self._filters = [stamper.root + "/" + one for one in filters]
        self._keepalive_ms = keepalive_s * 1000
        self._username = username
        self._password = password
        self.state = DOWN
        self.dropped = 0  # messages that were given up for want of room
        self._waiting = []  # (topic, data, qos, retained, at_ms, up_ms), oldest first
        self._inflight = []  # (packet id, the same tuple), oldest first
        self._packet_id = 0
        self._reset()

    def _reset(self):
        self.state = DOWN
        self._parser = mqtt.Parser()
        self._out = []
        self._out_bytes = 0
        self._birth = None
        self._gate_open = False
        self._heard_ms = 0
        self._asked_ms = None  # when an unanswered PINGREQ left
        self._ping_ms = 0

    # --- for the node -----------------------------------------------------------------------------

    def publish(self, route, ids, data, at_ms, up_ms, qos=None):
        """Queue a message; what becomes of it while the broker is away: see above."""
        _, retained, route_qos = contract.ROUTES[route]
        topic = topic_of(self._stamper.root, route, self._stamper.node, *ids)
        item = (topic, data, route_qos if qos is None else qos, retained, at_ms, up_ms)
        if route == "node-state" and not self._gate_open:
            if self.state == UP:
                self._birth = item
            return
        if self.state != UP and not _is_kept(item):
            return
        if retained:
            for index, older in enumerate(self._waiting):
                if older[0] == topic:
                    del self._waiting[index]
                    break
        self._waiting.append(item)
        self._shed()

    @property
    def idle(self):
        """True when everything has left and was acknowledged."""
        return not (self._waiting or self._inflight or self._out)

    # --- for the shell ----------------------------------------------------------------------------

    def opened(self, will, at_ms, now_ms):
        """The socket is connected: begin the next session with this last will."""
        self._reset()
        self.state = CONNECTING
        self._heard_ms = now_ms
        self._stamper.session += 1
        topic = topic_of(self._stamper.root, "node-state", self._stamper.node)
        payload = self._stamper.stamp(topic, will, at_ms, now_ms)
        self._put(
            mqtt.connect(
                self._stamper.node,
                self._keepalive_ms // 1000,
                topic,
                payload,
                self._username,
                self._password,
            )
        )

    def received(self, data, now_ms):
        """Yields what `data` from the socket means, as events for the node.

        The payload of a message is good until the next event is asked for.

        Raises:
            LinkError: close the socket, then call `closed`.
        """
        self._heard_ms = now_ms
        try:
            for packet in self._parser.feed(data):
                event = self._take(packet)
                if event is not None:
                    yield event
        except mqtt.ProtocolError as error:
            raise LinkError("the broker does not speak MQTT 3.1.1: %s" % error)

    def pump(self, now_ms):
        """Move what may leave now towards the socket.

        Raises:
            LinkError: the broker has been silent for too long.
        """
        if self.state == DOWN:
            return
        silent_ms = now_ms - self._heard_ms
        if self.state == CONNECTING:
            if silent_ms > CONNACK_MS_MAX:
                raise LinkError("the broker did not answer within %d s" % (CONNACK_MS_MAX // 1000))
            return
        if self._asked_ms is not None and silent_ms > self._keepalive_ms * 3 // 2:
            raise LinkError("the broker has been silent for %.1f s" % (silent_ms / 1000))
        if self._asked_ms is None and now_ms - self._ping_ms >= self._keepalive_ms // 2:
            self._put(mqtt.PINGREQ_PACKET)
            self._asked_ms = self._ping_ms = now_ms
        if not self._gate_open and self._birth is not None:
            self._gate_open = True
            self._waiting.insert(0, self._birth)
            self._birth = None
        while self._gate_open and self._waiting and self._out_bytes < OUT_BYTES_MAX:
            if self._waiting[0][2] and len(self._inflight) >= INFLIGHT_MAX:
                return
            self._send(self._waiting.pop(0))

    def head(self):
        """The bytes that leave next, or None."""
        return self._out[0] if self._out else None

    def sent(self, count):
        """The socket took `count` bytes of `head`."""
        self._out_bytes -= count
        first = self._out[0]
        if count >= len(first):
            self._out.pop(0)
        else:
            self._out[0] = first[count:]

    def farewell(self):
        """Say DISCONNECT, so that the broker does not publish our last will."""
        if self.state == UP:
            self._put(mqtt.DISCONNECT_PACKET)

    def closed(self):
        """The socket is gone: keep what is kept, forget the rest."""
        again = [item for _, item in self._inflight]
        self._waiting = [item for item in again + self._waiting if _is_kept(item)]
        self._inflight = []
        self._reset()
        self._shed()

    # --- inside -----------------------------------------------------------------------------------

    def _take(self, packet):
        kind = packet[0]
        if self.state == CONNECTING:
            if kind != mqtt.CONNACK:
                raise mqtt.ProtocolError("something before CONNACK")
            self._take_connack(packet[1])
            return ("up", self._stamper.session)
        if kind == mqtt.CONNACK:
            raise mqtt.ProtocolError("CONNACK twice")
        if kind == mqtt.PINGRESP:
            self._asked_ms = None
        elif kind == mqtt.PUBACK:
            self._inflight = [one for one in self._inflight if one[0] != packet[1]]
        elif kind == mqtt.PUBLISH:
            _, topic, payload, qos, retained, packet_id = packet
            if qos:
                self._put(mqtt.puback(packet_id))
            return ("message", topic, payload, bool(retained))
        elif 0x80 in packet[2]:  # SUBACK
            return ("unheard", "the broker refused one of our subscriptions")
        return None

    def _take_connack(self, code):
        if code:
            words = mqtt.REFUSALS[code] if code < len(mqtt.REFUSALS) else "code %d" % code
            raise LinkError("the broker refused us: %s" % words, "refused")
        self.state = UP
        self._ping_ms = self._heard_ms
        self._put(mqtt.subscribe(self._next_id(), self._filters))

    def _send(self, item):
        topic, data, qos, retained, at_ms, up_ms = item
        packet_id = 0
        if qos:
            packet_id = self._next_id()
            self._inflight.append((packet_id, item))
        payload = self._stamper.stamp(topic, data, at_ms, up_ms)
        self._put(mqtt.publish(topic, payload, qos, retained, packet_id))

    def _put(self, packet):
        self._out.append(packet)
        self._out_bytes += len(packet)
        if self._out_bytes > 4 * OUT_BYTES_MAX:
            raise LinkError("the broker sends, but does not take what we answer")

    def _next_id(self):
        self._packet_id = self._packet_id % 65535 + 1
        return self._packet_id

    def _shed(self):
        # Retained messages need no bound here: one a topic at most, and the board has few topics.
        kept = [index for index, item in enumerate(self._waiting) if _is_kept(item)]
        for index in reversed(kept[: max(0, len(kept) - KEPT_MAX)]):
            del self._waiting[index]
            self.dropped += 1


def _is_kept(item):
    return bool(item[2]) and not item[3]
