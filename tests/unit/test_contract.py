"""The document of the contract is the contract's own words."""

import json
import re
from pathlib import Path

from rackberry import topics
from rackberry.contract import document
from rackberry.messages import MESSAGES, Cordon
from rackberry.wire import decode

DOCUMENT = Path(__file__).parents[2] / "docs" / "contract.md"


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: make contract"


def test_every_route_has_a_message_and_stands_in_the_document() -> None:
    assert set(MESSAGES) == set(topics.ROUTES)
    text = document()
    for route in topics.ROUTES:
        assert f"| `{route.pattern}` |" in text


def test_the_command_in_the_document_is_accepted() -> None:
    found = re.search(r"-m '(\{.*?\}\})'", document(), re.DOTALL)
    assert found is not None
    payload = json.dumps(json.loads(found.group(1))).encode()
    fact = decode("rackberry/v1", "rackberry/v1/request/cordon", payload)
    assert fact.data == Cordon(id="r1", client="me", node="node-1", reason="new fan")
