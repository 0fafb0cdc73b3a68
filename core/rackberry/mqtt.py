"""The link to the broker; with `mqtt_blocks` the only module that imports paho.

Theory of operation: one network thread owns the paho client and nobody else touches it. The owner of
the process hands `Publish` and `Clear` effects to `publish`, which queues them and wakes the thread;
what the broker sends is decoded here and put into the inbox as facts. Callbacks only enqueue.

What this adapter makes true, and paho alone does not:

- Every connection carries its own last will, with the (incarnation, session) of that connection.
- Nothing goes out on a new connection before the birth. Of what was queued while the broker was away
  only non-retained QoS 1 messages (edges, replies, events) are kept, the newest `KEPT_MAX` of them:
  retained state is published afresh by its owner when the link comes up.
- Retries back off with jitter, so that two cloned nodes that throw each other off the broker do not do
  so as fast as they can (see `rackberry.backoff`).
- A payload larger than the broker accepts is counted and dropped here; paho would resend it for ever.
- Messages for one topic of a bundled route that wait together travel together. A message that waits for
  nobody is sent at once; order is kept on each topic, as MQTT keeps it.
- TCP_NODELAY: without it Nagle and delayed acknowledgements cost 40 ms for each QoS 1 message.
- The socket is read and written in blocks, and the packets there are thousands of are read and written
  here (see `rackberry.packets`); paho asks the kernel for single bytes and sends each packet by itself.
- The death of the network thread is the death of the process (see `rackberry.loop`).
"""

import contextlib
import logging
import queue
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event as Flag
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from rackberry.backoff import Backoff
from rackberry.clock import Clock, Random
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox, thread
from rackberry.mqtt_blocks import BlockClient
from rackberry.ports import CaughtUp, Clear, Cleared, LinkDown, LinkEffect, LinkUp, Publish, Refused
from rackberry.topics import Address, UnknownTopicError, parse
from rackberry.wire import RefusalError, Stamper, bundle, decode_all

log = logging.getLogger(__name__)

Item = tuple[LinkEffect, int, int]  # what to send, when it was asked for by wall and own clock

KEPT_MAX = 256  # messages kept while the broker is away, newest win
QUEUED_MAX = 20_000  # messages waiting for the network thread while the broker is there
UNACKNOWLEDGED_MAX = 1000  # QoS 1 messages in flight; mosquitto's own default queue is as long
BACKLOG_MAX = 50_000  # facts in the inbox above which the socket is left alone
CONNECT_TIMEOUT_S = 5.0
BUNDLED_MAX = 64  # messages to a payload
BUNDLED_BYTES_MAX = 32 * 1024
SENTINEL = "meta/caught-up"  # nothing is published there: its SUBACK follows what is retained


class Link:
    """A connection to the broker that comes back by itself.

    Args:
        settings: where the broker is and how to identify to it.
        client_id: unique on the broker; a second client with it throws the first off.
        stamper: the envelope of this process.
        inbox: where `LinkUp`, `LinkDown`, `CaughtUp`, `Received` and `Refused` go.
        clock: stamps messages; measures how long a connection lasted.
        chance: jitter of the back-off.
        filters: subscription filters below the root.
        will: gives the last will of the session about to be opened; None for a link without one.
        read_qos: the QoS to subscribe with; 0 makes `CaughtUp` exact, as no message waits for an
            acknowledgement.
        tap: called in the network thread with (topic, payload) of everything received, for tools
            that show raw messages.
        denied: called in the network thread with the address of a message that the broker did not
            accept; only MQTT 5 brokers say so, and only for QoS 1.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        stamper: Stamper,
        inbox: Inbox[Any],
        clock: Clock,
        chance: Random,
        filters: Sequence[str],
        will: Callable[[], Publish] | None = None,
        read_qos: int = 1,
        tap: Callable[[str, bytes], None] | None = None,
        denied: Callable[[Address], None] | None = None,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._stamper = stamper
        self._inbox = inbox
        self._clock = clock
        self._backoff = Backoff(chance)
        self._filters = [f"{settings.root}/{filter_}" for filter_ in filters]
        self._will = will
        self._read_qos = read_qos
        self._tap = tap
        self._denied = denied
        self._v5 = settings.protocol == "5"
        self._outgoing: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._pending: deque[list[Item]] = deque()
        self._growing: dict[Address, list[Item]] = {}
        """Of what is pending, the bundles that take more."""
        self._waking, self._wake = socket.socketpair()
        self._waking.setblocking(False)
        self._wake.setblocking(False)
        self._woken = False
        self._stopping = Flag()
        self._stopped = Flag()
        self._client: BlockClient | None = None
        self._connected = False
        self._answered = False  # by a CONNACK, of whatever kind
        self._accepted_s: float | None = None  # when one let us in
        self._gate_open = False  # closed until the birth is out
        self._unacknowledged: dict[int, list[Item]] = {}
        self._payload_max: int | None = None
        self._sentinel_mid: int | None = None
        self._expiries: dict[int, Properties] = {}
        self._began_s = clock.now()
        self.dropped = 0
        """Messages that were given up: no room while the broker was away, or too large for it."""

    # --- for the owner of the process -------------------------------------------------------------

    def start(self) -> None:
        """Connect, and keep connected, from a thread of its own."""
        thread("link", self._run, self._inbox, LinkDown("the network thread died"))

    def publish(self, effect: LinkEffect) -> None:
        """Queue a message for the broker; never blocks. What is kept while it is away: see above."""
        at_ms = self._clock.wall_ms()
        self._outgoing.put((effect, at_ms, round((self._clock.now() - self._began_s) * 1000)))
        self._signal()

    def stop(self, timeout_s: float) -> bool:
        """Send what is queued, disconnect cleanly, and say whether all of it was acknowledged."""
        self._stopping.set()
        self._signal()
        return self._stopped.wait(timeout_s) and not self._unacknowledged and not self._pending

    def _signal(self) -> None:
        if self._woken:
            return  # and has not looked yet
        self._woken = True
        # A full pipe wakes as well as an empty one; a closed one has nobody left to wake.
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def _slept(self) -> None:
        """The network thread looks at what is outgoing, next."""
        with contextlib.suppress(BlockingIOError):
            self._waking.recv(4096)
        self._woken = False

    # --- the network thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            client = self._make_client()
            self._answered = False
            self._accepted_s = None
            try:
                client.connect(self._settings.host, self._settings.port, self._settings.keepalive_s)
            except OSError as error:  # TLS errors are OSErrors, too
                self._answered = True  # by words of our own
                self._inbox.put(LinkDown(self._describe(error), "unreachable"))
            else:
                self._serve(client)
            self._forget_connection(client)
            accepted_s = self._accepted_s
            lasted_s = None if accepted_s is None else self._clock.now() - accepted_s
            self._pause(self._backoff.wait_s(lasted_s))
        self._waking.close()
        self._wake.close()
        self._stopped.set()

    def _serve(self, client: BlockClient) -> None:
        """Drive one connection until it ends or we are asked to stop."""
        self._client = client
        misc_due_s = self._clock.now() + 1.0
        while (sock := client.socket()) is not None:
            if self._stopping.is_set() and self._flushed() and not client.unsent:
                client.blocks = False  # paho closes the socket as soon as it has sent its goodbye
                client.disconnect()
                client.loop_write()
                return
            readers: list[Any] = [self._waking]
            if self._inbox.backlog < BACKLOG_MAX:
                readers.append(sock)
            writers: list[Any] = [sock] if client.want_write() or client.unsent else []
            readable, _, _ = select.select(readers, writers, [], 0.25)
            if self._waking in readable:
                self._slept()
            if len(readable) > (self._waking in readable):
                client.read_block()
            self._send_pending(client)
            if client.want_write() or client.unsent:
                client.loop_write()
            if self._clock.now() >= misc_due_s:
                client.loop_misc()
                misc_due_s = self._clock.now() + 1.0

    def _flushed(self) -> bool:
        self._take_outgoing()
        return not self._pending and not self._unacknowledged

    def _pause(self, seconds: float) -> None:
        """Wait out a back-off, but wake at once to stop; what is queued meanwhile is sifted."""
        until_s = self._clock.now() + seconds
        while not self._stopping.is_set() and (left_s := until_s - self._clock.now()) > 0:
            select.select([self._waking], [], [], left_s)
            self._slept()
            self._take_outgoing()

    def _take_outgoing(self) -> None:
        while True:
            try:
                item = self._outgoing.get_nowait()
            except queue.Empty:
                return
            if self._connected or _is_kept(item[0]):
                self._queue(item)
            if len(self._pending) > (QUEUED_MAX if self._connected else KEPT_MAX):
                self.dropped += len(self._next())

    def _queue(self, item: Item) -> None:
        address = item[0].address
        if not address.route.bundled:
            self._pending.append([item])
            return
        bundled = self._growing.get(address)
        if bundled is None or len(bundled) >= BUNDLED_MAX:
            bundled = self._growing[address] = []
            self._pending.append(bundled)
        bundled.append(item)

    def _next(self) -> list[Item]:
        """The oldest of what is pending; it grows no more."""
        items = self._pending.popleft()
        address = items[0][0].address
        if self._growing.get(address) is items:
            del self._growing[address]
        return items

    def _send_pending(self, client: BlockClient) -> None:
        self._take_outgoing()
        if not self._connected:
            return
        if not self._gate_open:
            self._open_gate()
        while self._gate_open and self._pending and len(self._unacknowledged) < UNACKNOWLEDGED_MAX:
            self._send(client, self._next())

    def _open_gate(self) -> None:
        """Let traffic out once the birth is there, and put the birth in front of it."""
        if self._will is not None:
            born_at = self._will().address
            for index, ((effect, _, _), *_) in enumerate(self._pending):
                if isinstance(effect, Publish) and effect.address == born_at:
                    birth = self._pending[index]
                    del self._pending[index]
                    self._pending.appendleft(birth)
                    break
            else:
                return
        self._gate_open = True

    def _send(self, client: BlockClient, items: list[Item]) -> None:
        address = items[0][0].address
        topic = address.under(self._settings.root)
        sent: list[Item] = []
        payloads: list[bytes] = []
        size = 0
        for item in items:
            effect, at_ms, up_ms = item
            if isinstance(effect, Clear):
                client.publish(topic, b"", qos=1, retain=True)
                self._stamper.forget(address)
                continue
            try:
                payload = self._stamper.stamp(effect, at_ms, up_ms)
            except RefusalError as error:
                self.dropped += 1
                log.error("not published: %s", error)
                continue
            if self._payload_max is not None and len(payload) + len(topic) + 64 > self._payload_max:
                self.dropped += 1
                log.error(
                    "not published: %s is %d bytes, the broker takes fewer", topic, len(payload)
                )
                continue
            if payloads and size + len(payload) > BUNDLED_BYTES_MAX:
                self._send_payload(client, topic, payloads, sent)
                sent, payloads, size = [], [], 0
            sent.append(item)
            payloads.append(payload)
            size += len(payload) + 1
        if payloads:
            self._send_payload(client, topic, payloads, sent)

    def _send_payload(
        self, client: BlockClient, topic: str, payloads: list[bytes], items: list[Item]
    ) -> None:
        effect = items[0][0]
        assert isinstance(effect, Publish)
        retained = effect.address.route.retained
        if effect.qos_effective == 0:
            client.publish_unconfirmed(
                topic.encode(), bundle(payloads), retained=retained, expiry_s=effect.expiry_s
            )
            return
        properties = self._expiry(effect.expiry_s) if self._v5 and effect.expiry_s else None
        info = client.publish(topic, bundle(payloads), 1, retained, properties)
        self._unacknowledged[info.mid] = items

    def _expiry(self, expiry_s: int) -> Properties:
        if expiry_s not in self._expiries:  # a handful of values in a process's life
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's own gap
            properties.MessageExpiryInterval = expiry_s
            self._expiries[expiry_s] = properties
        return self._expiries[expiry_s]

    def _forget_connection(self, client: BlockClient) -> None:
        if self._connected:
            self._inbox.put(LinkDown("the connection to the broker ended"))
        elif not self._answered and not self._stopping.is_set():
            where = f"{self._settings.host}:{self._settings.port}"
            words = (
                f"{where} took our connection but gave no answer: is it an MQTT broker that works"
            )
            words += ", and does it know our certificate?" if self._settings.ca_file else "?"
            self._inbox.put(LinkDown(words, "unreachable"))
        self._client = None
        self._connected = False
        self._gate_open = False
        # Events that the broker has not acknowledged go again, before what came after them.
        again = [*self._unacknowledged.values(), *self._pending]
        kept = [items for items in again if _is_kept(items[0][0])]
        self.dropped += sum(len(items) for items in kept[: max(0, len(kept) - KEPT_MAX)])
        self._pending = deque(kept[-KEPT_MAX:])
        self._growing.clear()
        self._unacknowledged.clear()
        for callback in ("on_connect", "on_disconnect", "on_publish", "on_subscribe"):
            setattr(client, callback, None)

    # --- the paho client --------------------------------------------------------------------------

    def _make_client(self) -> BlockClient:
        settings = self._settings
        client = BlockClient(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            delivered=self._on_delivered,
            protocol=MQTTProtocolVersion.MQTTv5 if self._v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if settings.username:
            client.username_pw_set(settings.username, _read_password(settings.password_file))
        if settings.ca_file:
            client.tls_set(
                settings.ca_file, settings.certificate_file or None, settings.key_file or None
            )
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_socket_open = _on_socket_open
        # Having this callback tells paho that somebody else drives the socket.
        client.on_socket_register_write = lambda _client, _userdata, _sock: None
        return client

    def _on_pre_connect(self, client: paho.Client, _userdata: object) -> None:
        self._stamper.session += 1
        if self._will is not None:
            will = self._will()
            now_ms = round((self._clock.now() - self._began_s) * 1000)
            payload = self._stamper.stamp(will, self._clock.wall_ms(), now_ms)
            client.will_set(will.address.under(self._settings.root), payload, qos=1, retain=True)

    def _on_connect(
        self,
        client: paho.Client,
        _userdata: object,
        _flags: Any,
        reason: ReasonCode,
        properties: Any,
    ) -> None:
        self._answered = True
        if reason.is_failure:
            words = str(reason)
            if self._v5 and words == "Unsupported protocol version":
                self._v5 = False
                words += "; trying MQTT 3.1.1"
            self._inbox.put(LinkDown(words, "refused"))
            return
        self._accepted_s = self._clock.now()
        self._payload_max = getattr(properties, "MaximumPacketSize", None)
        # Sift what was queued while we were away before new rules apply to it.
        self._take_outgoing()
        self._connected = True
        if self._filters:
            client.subscribe([(filter_, self._subscription()) for filter_ in self._filters])
        # A broker answers packets in order: this SUBACK comes behind what the others retained.
        _, self._sentinel_mid = client.subscribe(
            [(f"{self._settings.root}/{SENTINEL}", self._subscription())]
        )
        self._inbox.put(LinkUp(self._stamper.session))

    def _subscription(self) -> Any:
        return SubscribeOptions(qos=self._read_qos) if self._v5 else self._read_qos

    def _on_disconnect(
        self,
        _client: paho.Client,
        _userdata: object,
        _flags: Any,
        reason: ReasonCode,
        _properties: Any,
    ) -> None:
        if self._connected:
            self._connected = False
            words = str(reason)
            if words == "Session taken over":
                words = f"another client connected as {self._client_id!r}"
            self._inbox.put(LinkDown(words))

    def _on_delivered(self, topic_bytes: bytes, payload: bytes, retained: bool) -> None:
        try:
            topic = topic_bytes.decode()
        except UnicodeDecodeError:
            self._inbox.put(Refused("unknown-topic", "(a topic that is not UTF-8)"))
            return
        if self._tap is not None:
            self._tap(topic, payload)
        if not payload:
            self._on_cleared(topic)
            return
        for fact in decode_all(self._settings.root, topic, payload, retained=retained):
            self._inbox.put(fact)

    def _on_cleared(self, topic: str) -> None:
        """An empty payload takes a retained message away; whoever wants to know is told."""
        try:
            self._inbox.put(Cleared(parse(self._settings.root, topic)))
        except UnknownTopicError:
            self._inbox.put(Refused("unknown-topic", topic))

    def _on_publish(
        self, _client: paho.Client, _userdata: object, mid: int, reason: Any, _properties: Any
    ) -> None:
        items = self._unacknowledged.pop(mid, None)
        if items is not None and reason.is_failure and self._denied is not None:
            self._denied(items[0][0].address)

    def _on_subscribe(
        self, _client: paho.Client, _userdata: object, mid: int, _reasons: Any, _properties: Any
    ) -> None:
        if mid == self._sentinel_mid:
            self._inbox.put(CaughtUp(self._stamper.session))

    def _describe(self, error: OSError) -> str:
        where = f"{self._settings.host}:{self._settings.port}"
        if isinstance(error, TimeoutError):
            return f"no broker answers at {where} within {CONNECT_TIMEOUT_S:.0f} s"
        if type(error).__module__ == "ssl":  # not imported here: see rackberry.lean
            return f"the broker at {where} and this client do not trust each other: {error}"
        return f"no broker answers at {where}: {error.strerror or error}"


def _on_socket_open(_client: paho.Client, _userdata: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _is_kept(effect: LinkEffect) -> bool:
    return (
        isinstance(effect, Publish)
        and not effect.address.route.retained
        and effect.qos_effective > 0
    )


def _read_password(path: str) -> str | None:
    return Path(path).read_text(encoding="utf-8").strip() if path else None
