"""A recording of the rack as a file: what a screen took in, to be played again. Pure.

Theory of operation: a tape is a stream of JSON lines, compressed. The first line is the `Head`, which
names the format's version; each other line is one fact with its time, `[ms, kind, ...]`. Messages stand in
their own envelopes, and a reader takes them through the same gate as if a broker had brought them, so a
tape can do no more to a screen than a broker can. `TapeWriter` ends a block of the compression whenever it is asked to
(`flush`), so that a tape that was cut off, by a full disk or a kill, plays to the last block. What was read
goes into a `Recorder`, as in a live screen: the past is drawn by the same code, from file or from memory.

A tape holds at most `FACTS_MAX` facts: two hours of seven nodes, or a minute and a half of a thousand.
Compressed, a fact takes some 40 bytes; read, about 1 KB.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from rackberry.ports import CaughtUp, Cleared, LinkDown, LinkEvent, LinkUp, Received, Refused
from rackberry.topics import ROOT_DEFAULT, BadIdError, UnknownTopicError, parse
from rackberry.wire import VERSION, Envelope, RefusalError, decode

TAPE_VERSION = 1
FACTS_MAX = 200_000
LINE_BYTES_MAX = 128 * 1024  # a payload may have 64 KiB; so much more is for what stands around it
SPAN_MS_MAX = 7 * 24 * 3600 * 1000
BLOCK_BYTES = 64 * 1024
GZIP_WBITS = 31  # zlib's number for its largest window and gzip's frame: `zcat` reads a tape


class TapeError(ValueError):
    """A file that is no recording, in one sentence."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: the version, when it began (wall time), and which broker was listened to."""

    rackberry_tape: int
    at_ms: int
    broker: str = ""


class Fact(msgspec.Struct, frozen=True, gc=False):
    """A fact and its time, in seconds since the recording began."""

    at_s: float
    event: LinkEvent


class TapeWriter:
    """Turns facts into the bytes of a tape.

    >>> writer = TapeWriter(at_ms=0)
    >>> block = writer.add(LinkUp(1), at_s=0.5) + writer.close()
    >>> head, facts = read_tape([block])
    >>> head.rackberry_tape, facts
    (1, [Fact(at_s=0.5, event=LinkUp(session=1))])
    """

    def __init__(self, at_ms: int, broker: str = "") -> None:
        self._packer = zlib.compressobj(wbits=GZIP_WBITS)
        head = Head(rackberry_tape=TAPE_VERSION, at_ms=at_ms, broker=broker)
        self._begin = self._pack(msgspec.json.encode(head))
        self.facts = 0

    @property
    def is_full(self) -> bool:
        """No more is taken: a reader would not read it."""
        return self.facts >= FACTS_MAX

    def add(self, event: LinkEvent, at_s: float) -> bytes:
        """The bytes to be written now, perhaps none, for a fact `at_s` seconds after the beginning."""
        line = _line(event)
        out, self._begin = self._begin, b""
        if line is None or self.is_full:
            return out
        self.facts += 1
        return out + self._pack(msgspec.json.encode([round(at_s * 1000), *line]))

    def flush(self) -> bytes:
        """The bytes with which all that was added so far can be read."""
        out, self._begin = self._begin, b""
        return out + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def close(self) -> bytes:
        """The last bytes."""
        out, self._begin = self._begin, b""
        return out + self._packer.flush()

    def _pack(self, line: bytes) -> bytes:
        return self._packer.compress(line + b"\n")


def _line(event: LinkEvent) -> list[Any] | None:
    """A fact without its time; None for one that changes nothing that is drawn."""
    match event:
        case Received():
            envelope = Envelope(
                v=VERSION, incarnation=event.incarnation, session=event.session, seq=event.seq,
                at_ms=event.at_ms, up_ms=event.up_ms, data=event.data,
            )  # fmt: skip
            topic = event.address.under(ROOT_DEFAULT)
            return ["message", topic, event.retained, envelope]
        case Cleared():
            return ["cleared", event.address.under(ROOT_DEFAULT)]
        case LinkUp():
            return ["up", event.session]
        case LinkDown():
            return ["down", event.reason, event.kind]
        case CaughtUp():
            return ["caught-up", event.session]
        case Refused():
            return None


_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_number = msgspec.json.Decoder(int).decode
_text = msgspec.json.Decoder(str).decode
_truth = msgspec.json.Decoder(bool).decode


def _event(line: bytes) -> Fact | None:
    """The fact of a line; None for one of a kind, or a message, that is not known here.

    Raises:
        msgspec.DecodeError, ValueError: the line is broken.
    """
    at, kind, *rest = _parts(line)
    at_s = max(0, min(SPAN_MS_MAX, _number(at))) / 1000
    event: LinkEvent | None = None
    match _text(kind), rest:
        case "message", [topic, retained, envelope]:
            try:
                event = decode(
                    ROOT_DEFAULT, _text(topic), bytes(envelope), retained=_truth(retained)
                )
            except RefusalError:
                return None
        case "cleared", [topic]:
            try:
                event = Cleared(parse(ROOT_DEFAULT, _text(topic)))
            except (UnknownTopicError, BadIdError):
                return None
        case "up", [session]:
            event = LinkUp(_number(session))
        case "down", [reason, word]:
            kinds = {"lost": "lost", "unreachable": "unreachable", "refused": "refused"}
            event = LinkDown(_text(reason), kinds.get(_text(word), "lost"))  # type: ignore[arg-type]  # only the three come out of the table
        case "caught-up", [session]:
            event = CaughtUp(_number(session))
    return None if event is None else Fact(at_s, event)


def read_tape(blocks: Iterable[bytes]) -> tuple[Head, list[Fact]]:
    """The head and the facts of a tape, in order of time; of one that was cut off, as far as it goes.

    Args:
        blocks: the bytes of the file, in pieces of any size.

    Raises:
        TapeError: it is not a recording, or one of a version that is not read here.

    >>> read_tape([b"hello"])
    Traceback (most recent call last):
    ...
    rackberry_tui.tape.TapeError: this is no recording; `rackberry record FILE` makes one
    """
    lines = _lines(blocks)
    head = _head(next(lines, b""))
    facts: list[Fact] = []
    last_s = 0.0
    for line in lines:
        try:
            fact = _event(line)
        except (
            ValueError,
            RecursionError,
        ):  # of msgspec too: a tape that was damaged plays to there
            break
        if fact is not None:
            last_s = max(last_s, fact.at_s)
            facts.append(fact if fact.at_s == last_s else Fact(last_s, fact.event))
        if len(facts) >= FACTS_MAX:
            break
    return head, facts


def _head(line: bytes) -> Head:
    try:
        head = msgspec.json.decode(line, type=Head)
    except (ValueError, RecursionError):
        raise TapeError("this is no recording; `rackberry record FILE` makes one") from None
    if head.rackberry_tape != TAPE_VERSION:
        raise TapeError(
            f"this is a recording of version {head.rackberry_tape}; accepted is {TAPE_VERSION}"
        )
    return head


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The whole lines of a compressed stream; it ends quietly where the stream is cut off or broken."""
    unpacker = zlib.decompressobj(wbits=GZIP_WBITS)
    rest = b""
    for block in blocks:
        packed = block
        while packed and not unpacker.eof:
            try:
                # In pieces: a few hostile bytes may unpack to any size.
                text = unpacker.decompress(packed, BLOCK_BYTES)
            except zlib.error:
                return
            packed = unpacker.unconsumed_tail
            *whole, rest = (rest + text).split(b"\n")
            yield from whole
            if len(rest) > LINE_BYTES_MAX:
                return
