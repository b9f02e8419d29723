"""Dry runs: what a check would answer now, with nothing held, counted or written.

For the console alone: the API has no such flag.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any, Final

import redis

from aforo.lib import ids
from guard import projection, stores, wording
from guard.engine import check, scripts
from guard.engine.decision import CheckRequest, Cold, Decision
from guard.models import Decision as Stored

logger = logging.getLogger(__name__)

MANY_MAX: Final = 100  # questions in one round trip


def question(tag: str, tenant_id: str, **members: Any) -> CheckRequest:
    """Return a question about a customer that holds nothing; see CheckRequest."""
    decision_id = wording.decision_id()
    return CheckRequest(
        tag=tag,
        tenant_id=tenant_id,
        request_id=decision_id,
        decision_id=decision_id,
        dry_run=True,
        **members,
    )


def again(stored: Stored, tag: str, tenant_id: str, *, digest: str) -> CheckRequest:
    """Return the question of a stored decision, to be asked once more.

    `digest` is its credential's, or '' where a service key named the payer.
    """
    asked = stored.inputs
    return question(
        tag,
        tenant_id,
        digest=digest,
        agent="" if digest or not stored.agent_id else _agent(stored),
        product=asked.get("product") or asked.get("product_id", ""),
        feature=asked.get("feature", ""),
        amount_micros=asked.get("estimate_micros"),
        ceiling_micros=asked.get("ceiling_micros"),
        tokens=asked.get("tokens"),
        units=asked.get("units", {}),
    )


def _agent(stored: Stored) -> str:
    assert stored.agent_id is not None, "asked only where an agent is named"
    return ids.public("agt", stored.agent_id)


def ask(requests: Sequence[CheckRequest]) -> list[Decision | None]:
    """Return what would be decided, in the order of the questions; one round trip.

    None: the store does not answer, or knows nothing of the customer.
    """
    assert len(requests) <= MANY_MAX, "the caller bounds its questions"
    if not requests:
        return []
    client = stores.for_pages()
    try:
        client.script_load(scripts.CHECK.text)
        with client.pipeline(transaction=False) as pipe:
            for request in requests:
                call = check.prepare(request)
                pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
            replies = pipe.execute()
    except (redis.RedisError, OSError) as error:
        logger.warning("a dry run was not answered: %s", error)
        return [None] * len(requests)
    found = [
        check.interpret(request, reply)
        for request, reply in zip(requests, replies, strict=True)
    ]
    return [None if isinstance(one, Cold) else one for one in found]


def ask_one(request: CheckRequest, customer_id: uuid.UUID) -> Decision | None:
    """Return what would be decided; a customer that is cold is projected first."""
    (found,) = ask([request])
    if found is not None:
        return found
    try:
        projection.project(customer_id)
    except redis.RedisError:
        return None
    (found,) = ask([request])
    return found
