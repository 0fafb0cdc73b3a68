"""The envelope around every message, and the gate that a received one must pass.

Theory of operation: pure, and the same rules as `rackberry.wire`: `Stamper` knows the process
(`incarnation`), counts its connections (`session`) and numbers messages topic by topic (`seq`);
`open_command` takes a payload apart and raises `Refusal` with a cause from the contract's list.
"""

import json

import contract

PAYLOAD_BYTES_MAX = 65536
ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"
OPENINGS_MAX = 64  # what this node reads is flat; a bracket costs the heap 30 times its byte
COUNT_MAX = 9223372036854775807
WALL_MS_MAX = 1000000000000000


class Refusal(Exception):
    """A message that the contract does not allow; `cause` is a word from the contract's list."""

    def __init__(self, cause):
        super().__init__(cause)
        self.cause = cause


def is_id(value):
    """True for 1 to 63 of a-z, 0-9 and '-', not starting with '-'.

    >>> is_id("node-1"), is_id("Node 1"), is_id("-a"), is_id(7)
    (True, False, False, False)
    """
    return (
        isinstance(value, str)
        and 1 <= len(value) <= 63
        and value[0] != "-"
        and all(letter in ID_LETTERS for letter in value)
    )


def topic_of(root, route, *ids):
    """The topic of a route with its ids filled in, left to right.

    >>> topic_of("rackberry/v1", "node-sensor", "n1", "door")
    'rackberry/v1/node/n1/sensor/door'
    """
    left = list(ids)
    pattern = contract.ROUTES[route][0].split("/")
    levels = [left.pop(0) if level.startswith("{") else level for level in pattern]
    return root + "/" + "/".join(levels)


class Stamper:
    """Puts this node's messages into envelopes."""

    def __init__(self, root, node, incarnation):
        self.root = root
        self.node = node
        self.incarnation = incarnation
        self.session = 0
        self._seqs = {}  # one entry for each topic we publish on: bounded by our board

    def stamp(self, topic, data, at_ms, up_ms):
        """The payload for `data` on `topic`, as bytes; takes the topic's next `seq`."""
        seq = self._seqs.get(topic, -1) + 1
        self._seqs[topic] = seq
        # `data` comes last and the rest in the contract's order, for people who watch the wire.
        text = (
            '{"v":%d,"incarnation":"%s","session":%d,"seq":%d,"at_ms":%d,"up_ms":%d,"data":%s}'
            % (
                contract.ENVELOPE_VERSION,
                self.incarnation,
                self.session,
                seq,
                at_ms,
                up_ms,
                json.dumps(data, separators=(",", ":")),
            )
        )
        return text.encode()


def open_message(payload):
    """The `data` of an envelope, a dict.

    Raises:
        Refusal: oversize, not-json, unknown-version or wrong-shape.
    """
    if payload is None or len(payload) > PAYLOAD_BYTES_MAX:
        raise Refusal("oversize")
    try:
        text = bytes(payload).decode()
        if text.count("[") + text.count("{") > OPENINGS_MAX:
            raise Refusal("wrong-shape")
        tree = json.loads(text)
    except MemoryError:
        raise Refusal("oversize")
    except (ValueError, RuntimeError):  # not UTF-8, not JSON, or nested too deeply
        raise Refusal("not-json")
    if not isinstance(tree, dict):
        raise Refusal("wrong-shape")
    version = tree.get("v")
    if not is_count(version):
        raise Refusal("wrong-shape")
    if version != contract.ENVELOPE_VERSION:
        raise Refusal("unknown-version")
    incarnation = tree.get("incarnation")
    right = (
        isinstance(incarnation, str)
        and len(incarnation) == 8
        and all(letter in "0123456789abcdef" for letter in incarnation)
        and is_count(tree.get("session"))
        and is_count(tree.get("seq"))
        and is_count(tree.get("at_ms"), WALL_MS_MAX)
        and is_count(tree.get("up_ms"))
        and isinstance(tree.get("data"), dict)
    )
    if not right:
        raise Refusal("wrong-shape")
    return tree["data"]


def is_count(value, most=COUNT_MAX):
    """True for a whole number from 0 to `most`; a boolean is none.

    >>> is_count(3), is_count(-1), is_count(True), is_count(1.0)
    (True, False, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def is_number(value, least, most):
    """True for a finite number in a range; a boolean is none.

    >>> is_number(1.5, 0, 2), is_number(float("nan"), 0, 2), is_number("1", 0, 2)
    (True, False, False)
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and least <= value <= most
