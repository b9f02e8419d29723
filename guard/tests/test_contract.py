from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guard.engine.state import Loop, Quota
from guard.tests.doors import Asker, Reply
from guard.tests.edge import Edge

CONTRACT = Path(__file__).parents[2] / "gateways" / "contract" / "check.json"
CASES: list[dict[str, Any]] = json.loads(CONTRACT.read_text())["cases"]


def prepare(edge: Edge, given: Mapping[str, Any]) -> None:
    """Bring the edge into the state that a case starts from."""
    limits = dict(given.get("limits", {}))
    if "quotas" in limits:
        limits["quotas"] = tuple(Quota(**quota) for quota in limits["quotas"])
    if "loop" in limits:
        limits["loop"] = msgspec.convert(limits["loop"], Loop)
    parts = {
        part: given[part]
        for part in ("customer", "agent", "credential")
        if part in given
    }
    edge.config_version += 1
    edge.project(**parts, **limits)
    edge.version += 1
    edge.total(**given.get("totals", {}))


def shown(reply: Reply, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the reply says of the members that the case names."""
    body = {name: reply.json.get(name) for name in expected.get("body", {})}
    headers = {
        name: reply.headers.get(name.lower()) for name in expected.get("headers", {})
    }
    return {"status": reply.status, "headers": headers, "body": body}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_door_keeps_the_contract(
    bob: Asker, edge: Edge, case: dict[str, Any]
) -> None:
    prepare(edge, case["given"])
    for ask in case["asks"]:
        expected = ask["answer"]
        reply = bob.ask(**ask["body"])
        assert shown(reply, expected) == {
            "status": expected["status"],
            "headers": expected.get("headers", {}),
            "body": expected.get("body", {}),
        }
        assert (reply.json.get("detail") or "").startswith(
            expected.get("detail_starts", "")
        )
        wait = int(reply.headers.get("retry-after", "0"))
        assert (wait >= 1) == (reply.status == 429)
