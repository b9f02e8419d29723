"""The page of an event shows its usage block, how it was read and what is doubtful."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aforo.core.models import Role
from metering import blocks, canonical, pipeline
from metering.advice import advice
from metering.models import Unrateable
from portal.tests.scene import Scene, event_path, sign_in

pytestmark = pytest.mark.django_db

DOUBTFUL = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 127}
CLEAR = DOUBTFUL | {"total_tokens": 120}


def shown(scene: Scene, usage: Any, **sent: str) -> str:
    """Store an event with a block as the door does; return its page once rated."""
    body = {"properties": {}, "measurements": sent}
    stored, flags = blocks.take(body, canonical.encode(usage))
    stored = json.loads(canonical.encode(stored))
    event = scene.store({}, body=stored, flags=flags)
    pipeline.rate()
    page = sign_in(scene, Role.OPERATIONS).get(event_path(event))
    assert page.status_code == 200
    return page.content.decode()


def test_a_block_that_was_read_is_shown_beside_its_measurements(scene: Scene) -> None:
    text = shown(scene, CLEAR, output_tokens="19")
    assert "Usage block as it came" in text
    assert "openai.chat" in text
    assert "by the block, which counts" in text
    assert "usage_differs" in text
    assert "in doubt" not in text


def test_every_reason_says_what_to_do() -> None:
    assert {reason for reason in Unrateable.Reason if not advice(reason)} == set()


def test_a_broken_stream_says_what_to_send(scene: Scene) -> None:
    text = shown(scene, [{"choices": [{"delta": {}}], "usage": None}])
    assert "The provider sent no final usage" in text
    assert "your own count as measurements beside the block" in text
    # And that helps: the same block with the sender's own count has a price.
    text = shown(
        scene,
        [{"choices": [{"delta": {}}], "usage": None}],
        input_tokens="10",
        output_tokens="19",
    )
    assert "The provider sent no final usage" not in text
    assert "estimated" in text


def test_a_doubt_is_told_with_what_it_would_be(scene: Scene) -> None:
    text = shown(scene, DOUBTFUL)
    assert "The usage block can be read in two ways" in text
    assert "the total is 127" in text
    assert "Not counted" in text
    assert "Amend the event: leave the usage block out" in text
    assert "Replay</button>" in text
    assert "btn-primary" not in text
    listed = sign_in(scene, Role.OPERATIONS).get(
        "/events", {"status": "unrateable", "reason": "usage_ambiguous"}
    )
    assert "the total is 127" in listed.content.decode()
    assert "Replay all with this reason" in listed.content.decode()
