"""The envelope: how a message travels, and the gate that every received one must pass.

Theory of operation: `Stamper` belongs to a publisher. It knows the process (`incarnation`), counts
its connections (`session`) and numbers its messages topic by topic (`seq`), so that a reader can tell
one life of a node from the next and can count what it missed. `decode` belongs to a reader: it takes
what the broker delivered and returns a `Received` fact, or raises `RefusalError` with a cause from a
closed list, so that refusals can be counted by cause and never by the sender's own words.

On a route that is `bundled` a payload may be an array of envelopes: a message through a broker costs
every party ten times what its content does, so that whoever has many for one reader sends them
together. `decode_all` takes either form; what is wrong with one envelope costs that one only.
"""

import operator
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from rackberry import topics
from rackberry.messages import MESSAGES, Count, Hex, Id, Message, WallMs
from rackberry.ports import Publish, Received, Refused
from rackberry.topics import Address

VERSION = 1
PAYLOAD_BYTES_MAX = 64 * 1024
BUNDLE_MAX = 256  # envelopes in a payload that are looked at
SEQS_MAX = 16_384  # topics whose numbers are remembered: those of jobs come and go

MessageT = TypeVar("MessageT")


class Cause(StrEnum):
    """Why a message was refused."""

    UNKNOWN_TOPIC = "unknown-topic"
    OVERSIZE = "oversize"
    NOT_JSON = "not-json"
    UNKNOWN_VERSION = "unknown-version"
    WRONG_SHAPE = "wrong-shape"
    RETAINED_COMMAND = "retained-command"


class RefusalError(ValueError):
    """A message that the contract does not allow."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause


class Envelope(msgspec.Struct, Generic[MessageT], frozen=True, kw_only=True):
    """What is around every message.

    `at_ms` is for people only; `up_ms` is monotonic, for arithmetic within one incarnation.
    """

    v: Annotated[int, Meta(ge=1, le=VERSION)]
    incarnation: Hex
    session: Annotated[int, Meta(ge=0, le=2**53)]
    seq: Count
    at_ms: WallMs
    up_ms: Count
    data: MessageT


class _Version(msgspec.Struct):
    v: int


class Stamper:
    """Puts a publisher's messages into envelopes.

    >>> from rackberry.messages import NodeState
    >>> stamper = Stamper("7f3a91c2")
    >>> birth = Publish(topics.NODE_STATE.at("node-1"), NodeState(status="online"))
    >>> stamper.stamp(birth, at_ms=1732277000123, up_ms=42)[:49]
    b'{"v":1,"incarnation":"7f3a91c2","session":0,"seq"'
    """

    def __init__(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self.session = 0
        # The topics we published on, latest last.
        self._seqs: dict[Address, int] = {}
        self._encoder = msgspec.json.Encoder()

    def stamp(self, publish: Publish, at_ms: int, up_ms: int, session: int | None = None) -> bytes:
        """The payload for `publish`.

        `session` stamps for a connection other than the current one: a last will is written before
        its connection exists.

        Raises:
            RefusalError: when it would be larger than readers accept, so that a mistake of ours is
                found here and not at every subscriber.
        """
        seqs = self._seqs
        seq = seqs.pop(publish.address, -1) + 1
        seqs[publish.address] = seq  # at the end, so that a heartbeat is never among the forgotten
        if len(seqs) > SEQS_MAX:
            del seqs[next(iter(seqs))]
        payload = self._encoder.encode(
            Envelope(
                v=VERSION,
                incarnation=self.incarnation,
                session=self.session if session is None else session,
                seq=seq,
                at_ms=at_ms,
                up_ms=up_ms,
                data=publish.data,
            )
        )
        if len(payload) > PAYLOAD_BYTES_MAX:
            seqs[publish.address] = seq - 1
            raise RefusalError(
                Cause.OVERSIZE, f"{publish.address.route.name}: {len(payload)} bytes"
            )
        return payload

    def forget(self, address: Address) -> None:
        """Nothing more will be published there."""
        self._seqs.pop(address, None)


def bundle(payloads: Sequence[bytes]) -> bytes:
    """One payload of several.

    >>> bundle([b'{"v":1}', b'{"v":1}'])
    b'[{"v":1},{"v":1}]'
    """
    return payloads[0] if len(payloads) == 1 else b"[" + b",".join(payloads) + b"]"


@lru_cache(maxsize=len(topics.ROUTES))
def _decoder(route: topics.Route) -> msgspec.json.Decoder[Envelope[Message]]:
    # The parameter is known at run time only, so the type checker cannot follow the subscription.
    shape: type[Envelope[Message]] = operator.getitem(Envelope, MESSAGES[route])  # type: ignore[call-overload]
    return msgspec.json.Decoder(shape)


def decode(root: str, topic: str, payload: bytes, *, retained: bool = False) -> Received:
    """The fact that a delivered message states.

    Raises:
        RefusalError: with the cause, when the contract does not allow it.

    >>> decode("rackberry/v1", "rackberry/v1/node/node-1/state", b"hello")
    Traceback (most recent call last):
    ...
    rackberry.wire.RefusalError: not-json: JSON is malformed: invalid character (byte 0)
    """
    try:
        address = topics.parse(root, topic)
    except topics.UnknownTopicError as error:
        raise RefusalError(Cause.UNKNOWN_TOPIC, str(error)) from None
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise RefusalError(
            Cause.OVERSIZE, f"{len(payload)} bytes, accepted are {PAYLOAD_BYTES_MAX}"
        )
    if retained and address.route.pattern.startswith(("cmd/", "request/")):
        raise RefusalError(Cause.RETAINED_COMMAND, "a command is news or nothing")
    try:
        envelope = _decoder(address.route).decode(payload)
    except msgspec.ValidationError as error:
        raise RefusalError(_cause_of_bad_shape(payload), str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusalError(Cause.NOT_JSON, str(error)) from None
    return Received(
        address,
        envelope.data,
        envelope.incarnation,
        envelope.session,
        envelope.seq,
        envelope.at_ms,
        envelope.up_ms,
        retained,
    )


def decode_all(
    root: str, topic: str, payload: bytes, *, retained: bool = False
) -> list[Received | Refused]:
    """The facts that a delivered payload states, refusals among them, in order.

    >>> [fact.cause for fact in decode_all("rackberry/v1", "rackberry/v1/node/node-1/state", b"hello")]
    ['not-json']
    """
    parts = [payload]
    if payload[:1] == b"[" and len(payload) <= PAYLOAD_BYTES_MAX and _is_bundled(root, topic):
        try:
            parts = [bytes(part) for part in _split(payload)[:BUNDLE_MAX]]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return [Refused(Cause.NOT_JSON.value, topic)]
    facts: list[Received | Refused] = []
    for part in parts:
        try:
            facts.append(decode(root, topic, part, retained=retained))
        except RefusalError as error:
            facts.append(_refused(error, root, topic, part))
    return facts


class _Asker(msgspec.Struct):
    id: Id
    client: Id


class _Asked(msgspec.Struct):
    data: _Asker


def _refused(error: RefusalError, root: str, topic: str, payload: bytes) -> Refused:
    """The fact of a refusal, with whom to tell of it if it was a request that says so."""
    cause = error.cause.value
    if not topic.startswith(f"{root}/request/"):
        return Refused(cause, topic)
    try:
        asker = msgspec.json.decode(payload, type=_Asked).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused(cause, topic)
    return Refused(cause, topic, asker.client, asker.id, str(error))


_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _is_bundled(root: str, topic: str) -> bool:
    try:
        return topics.parse(root, topic).route.bundled
    except topics.UnknownTopicError:
        return False


def _cause_of_bad_shape(payload: bytes) -> Cause:
    try:
        version = msgspec.json.decode(payload, type=_Version).v
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Cause.WRONG_SHAPE
    return Cause.WRONG_SHAPE if version == VERSION else Cause.UNKNOWN_VERSION
