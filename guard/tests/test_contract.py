from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aforo.lib import crypto
from guard.engine import keys, state
from guard.engine.state import Loop, Quota
from guard.tests.doors import Asker, Reply
from guard.tests.edge import TENANT, Edge

CONTRACT = Path(__file__).parents[2] / "gateways" / "contract" / "check.json"
CASES: list[dict[str, Any]] = json.loads(CONTRACT.read_text())["cases"]
DOOR_CASES: list[dict[str, Any]] = json.loads(
    CONTRACT.with_name("doors.json").read_text()
)["cases"]


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


def service_key(edge: Edge, tenant_id: str) -> str:
    """Return a tenant's service key that the edge knows."""
    tag = crypto.new_tag()
    text = crypto.mint_key("svc", "live", tag)
    record = state.ServiceKey(id="svk_1", tenant_id=tenant_id, scopes=("check",))
    field, raw = crypto.hash_key(text), msgspec.msgpack.encode(record)
    edge.client.hset(keys.service_keys_key(tag), field, raw)
    return text


@pytest.mark.parametrize("case", DOOR_CASES, ids=lambda case: case["name"])
def test_every_door_keeps_the_contract_of_gateways(
    bob: Asker, edge: Edge, case: dict[str, Any]
) -> None:
    prepare(edge, case["given"])
    hold_id = ""
    releasing = {
        "own": bob,
        "service": Asker(bob.door, f"Bearer {service_key(edge, TENANT)}"),
        "foreign": Asker(bob.door, f"Bearer {service_key(edge, 'ten_other')}"),
    }
    for ask in case["asks"]:
        if "release" in ask:
            reply = releasing[ask["release"]].release(hold_id)
        else:
            reply = bob.authz(query=ask.get("query", ""), **ask["headers"])
            hold_id = reply.headers.get("x-aforo-hold-id") or hold_id
        told = {
            "status": reply.status,
            "headers": {
                name: reply.headers.get(name.lower())
                for name in ask["answer"].get("headers", {})
            },
            "body": {name: reply.json[name] for name in ask["answer"].get("body", {})},
        }
        assert told == {"headers": {}, "body": {}, **ask["answer"]}
        limited = reply.headers.get("x-aforo-status") == "429"
        assert (int(reply.headers.get("retry-after", "0")) >= 1) == limited
