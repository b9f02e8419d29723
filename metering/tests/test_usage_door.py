"""Usage blocks from the door to the price: any provider, one plan."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing.models import LedgerEntry
from metering import normalize, pipeline, unrateable
from metering.batch import decode
from metering.models import CostFact, Session, Unrateable, UsageEvent, UsageRollup
from metering.normalize import Hint, Reading
from metering.tests.conftest import Door, Seller
from metering.tests.usage_kit import example
from tests.factories import Shop, add_cost, make_shop, store_event

both = pytest.mark.django_db
BARE = {"eventType": "llm.completion", "correlationId": "c-1"}

# One call: 9,000 tokens of 10,000 from the cache, 300 out.
PROVIDERS: dict[str, Any] = {
    "anthropic": {
        "input_tokens": 1_000,
        "cache_read_input_tokens": 9_000,
        "cache_creation_input_tokens": 0,
        "output_tokens": 300,
    },
    "openai": {
        "prompt_tokens": 10_000,
        "completion_tokens": 300,
        "total_tokens": 10_300,
        "prompt_tokens_details": {"cached_tokens": 9_000},
    },
    "google": {
        "promptTokenCount": 10_000,
        "cachedContentTokenCount": 9_000,
        "candidatesTokenCount": 100,
        "thoughtsTokenCount": 200,
        "totalTokenCount": 10_300,
    },
    "aws": {
        "inputTokens": 1_000,
        "outputTokens": 300,
        "cacheReadInputTokens": 9_000,
        "totalTokens": 10_300,
    },
}
# Nothing says whether the 7 tokens too many are input or output.
DOUBTFUL = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 127}


def _clean() -> None:
    assert {code: found for code, found in breaks().items() if found} == {}


def _event(seller: Seller, name: str, **members: Any) -> dict[str, Any]:
    customer = seller.customer.external_id or str(seller.customer.pk)
    return {**BARE, "eventId": name, "customerId": customer, **members}


def test_an_event_needs_no_measurement_beside_a_block(
    door: Door, seller: Seller
) -> None:
    events = [
        _event(seller, name, usage=usage, properties={"provider": name})
        for name, usage in PROVIDERS.items()
    ]
    reply = door.post(seller, events)
    assert reply.json["accepted"] == 4
    assert all("usage_" not in " ".join(i["flags"]) for i in reply.json["items"])
    for row in seller.stored():
        measured = row.body["measurements"]
        assert (measured["input_tokens"], measured["output_tokens"]) == ("10000", "300")
        assert measured["cache_read_tokens"] == "9000"
        assert row.body["usage"] == PROVIDERS[row.body["properties"]["provider"]]


def test_a_resend_is_a_duplicate_and_another_block_is_a_conflict(
    bare: Door, seller: Seller
) -> None:
    event = _event(seller, "e-1", usage=DOUBTFUL)
    first, again = bare.post(seller, event), bare.post(seller, event)
    assert (first.code, again.code) == ((200, "accepted"), (200, "duplicate"))
    assert first.json["flags"] == again.json["flags"]
    assert "usage_ambiguous" in first.json["flags"]
    other = bare.post(seller, _event(seller, "e-1", usage=PROVIDERS["openai"]))
    assert other.code == (422, "event_conflict")


def test_the_block_counts_where_the_sender_says_otherwise(
    bare: Door, seller: Seller
) -> None:
    sent = [
        {"metricKey": "output_tokens", "value": 299},
        {"metricKey": "latency_ms", "value": 840},
    ]
    event = _event(seller, "e-1", usage=PROVIDERS["openai"], measurements=sent)
    assert "usage_differs" in bare.post(seller, event).json["flags"]
    [row] = seller.stored()
    assert row.body["measurements"] == {
        "input_tokens": "10000",
        "output_tokens": "300",
        "cache_read_tokens": "9000",
        "latency_ms": "840",
    }
    assert row.body["reading"]["differs"] == ["output_tokens"]
    assert row.body["reading"]["sent"]["output_tokens"] == "299"


def test_a_stream_is_sent_as_it_came_and_its_content_is_not_kept(
    bare: Door, seller: Seller
) -> None:
    chunk = {"choices": [{"delta": {"content": "a secret answer"}}], "usage": None}
    stream = [chunk] * 600 + example("openai-03-chat-stream")["raw_usage"]
    reply = bare.post(seller, _event(seller, "e-1", usage=stream))
    assert reply.code == (200, "accepted")
    [row] = seller.stored()
    assert row.body["measurements"]["input_tokens"] == "1200"
    assert "secret" not in json.dumps(row.body, default=str)
    # What was left out is part of what the id stands for all the same.
    other = bare.post(seller, _event(seller, "e-1", usage=stream[1:]))
    assert other.code == (422, "event_conflict")


def test_an_estimate_is_taken_and_flagged(bare: Door, seller: Seller) -> None:
    usage = example("any-01-aborted-stream")["raw_usage"]
    sent = [{"metricKey": "input_tokens", "value": 1200}]
    sent += [{"metricKey": "output_tokens", "value": 57}]
    reply = bare.post(seller, _event(seller, "e-1", usage=usage, measurements=sent))
    assert {"usage_missing", "estimated"} <= set(reply.json["flags"])
    [row] = seller.stored()
    assert row.body["measurements"] == {"input_tokens": "1200", "output_tokens": "57"}


def test_what_the_response_tells_of_model_tier_and_cost_is_kept(
    bare: Door, seller: Seller
) -> None:
    usage = example("xai-01-reasoning-outside")["raw_usage"]
    response = {"model": "grok-4.20", "service_tier": "priority", "usage": usage}
    bare.post(seller, _event(seller, "e-1", usage=response))
    [row] = seller.stored()
    assert row.body["properties"] == {"model": "grok-4.20", "service_tier": "priority"}
    assert row.body["cost"] == {"amount": "0.0232856", "currency": "USD"}


@pytest.mark.parametrize("usage", ["text", 5, True, [1], [[{}]], {"a": "x" * 9_000}])
def test_what_is_no_block_at_all_is_refused(
    bare: Door, seller: Seller, usage: Any
) -> None:
    reply = bare.post(seller, _event(seller, "e-1", usage=usage))
    assert reply.code == (400, "invalid_usage")


def _store(shop: Shop, usage: Any, **columns: Any) -> UsageEvent:
    """Store an event with a block as the door does."""
    from metering import blocks, canonical

    properties = columns.pop("properties", {})
    body = {"properties": properties, "measurements": columns.pop("sent", {})}
    block = canonical.encode(normalize.strip(canonical.tree(usage, "usage")))
    stored, flags = blocks.take(body, block)
    stored = json.loads(canonical.encode(stored))
    return store_event(shop, {}, body=stored, flags=flags, **columns)


@both
def test_another_provider_changes_no_plan_and_no_price() -> None:
    shop = make_shop()
    events = {name: _store(shop, usage) for name, usage in PROVIDERS.items()}
    assert pipeline.rate() == 4
    amounts = {
        LedgerEntry.objects.get(event_id=event.id).amount for event in events.values()
    }
    assert len(amounts) == 1
    measured = [
        {
            name: text
            for name, text in event.body["measurements"].items()
            if name not in {"cache_write_tokens", "reasoning_tokens"}
        }
        for event in events.values()
    ]
    assert measured == [measured[0]] * 4
    _clean()


@both
def test_another_provider_changes_our_cost() -> None:
    shop = make_shop()
    for model, per in (("dear", "0.00002"), ("cheap", "0.00001")):
        for unit in ("input_uncached_tokens", "cache_read_tokens", "output_tokens"):
            add_cost(shop.tenant, model=model, unit=unit, amount=per)
    dear = _store(shop, PROVIDERS["openai"], properties={"model": "dear"})
    cheap = _store(shop, PROVIDERS["google"], properties={"model": "cheap"})
    pipeline.rate()
    costs = [CostFact.objects.get(event=event).amount for event in (dear, cheap)]
    assert costs == [Decimal("0.206"), Decimal("0.103")]
    prices = {LedgerEntry.objects.get(event_id=e.id).amount for e in (dear, cheap)}
    assert len(prices) == 1


@both
@pytest.mark.parametrize(
    ("usage", "reason", "word"),
    [
        (DOUBTFUL, "usage_ambiguous", "127"),
        ({"spent": 5}, "usage_not_read", "spent"),
        ({"usage": None}, "usage_missing", "no usage"),
    ],
)
def test_doubt_is_listed_with_its_reason_and_costs_nothing_known(
    usage: Any, reason: str, word: str
) -> None:
    shop = make_shop()
    event = _store(shop, usage, properties={"model": "m"})
    pipeline.rate()
    listed = Unrateable.objects.get()
    assert (listed.reason, word in listed.detail) == (reason, True)
    assert CostFact.objects.get(event=event).amount is None
    assert not LedgerEntry.objects.filter(event_id=event.id).exists()
    # The same reader finds the same: nothing is priced by trying again.
    assert unrateable.replay([listed.pk], actor=shop.owner) == (0, 1)
    _clean()


@both
def test_a_better_reader_prices_and_counts_what_was_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = make_shop()
    for unit in ("input_uncached_tokens", "output_tokens"):
        add_cost(shop.tenant, model="m", unit=unit, amount="0.01")
    event = _store(shop, DOUBTFUL, properties={"model": "m"}, session_key="s-1")
    pipeline.rate()
    rollup, session = UsageRollup.objects.get(), Session.objects.get()
    assert (rollup.event_count, rollup.input_tokens, rollup.cost_unknown_count) == (
        1,
        0,
        1,
    )
    assert session.input_tokens == 0

    def better(block: Any, *, hint: Hint) -> Reading:
        assert block == DOUBTFUL
        measured = {"input_tokens": 100, "output_tokens": 27}
        return Reading(api="next", measurements=measured)

    monkeypatch.setattr(normalize, "read", better)
    listed = Unrateable.objects.get()
    assert unrateable.replay([listed.pk], actor=shop.owner) == (1, 0)
    listed.refresh_from_db()
    assert listed.resolved_at is not None
    rollup, session = UsageRollup.objects.get(), Session.objects.get()
    assert (rollup.event_count, rollup.input_tokens, rollup.output_tokens) == (
        1,
        100,
        27,
    )
    assert (rollup.cost, rollup.cost_unknown_count) == (Decimal("1.27"), 0)
    assert (session.input_tokens, session.output_tokens) == (100, 27)
    assert session.cost == Decimal("1.27")
    assert LedgerEntry.objects.get(event_id=event.id).amount > 0
    _clean()


@both
def test_an_event_that_was_read_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = make_shop()
    event = _store(shop, PROVIDERS["openai"])

    def never(block: Any, *, hint: Hint) -> Reading:
        raise AssertionError("it was read when it came")

    monkeypatch.setattr(normalize, "read", never)
    body = decode(json.dumps(event.body))
    assert body.measurements == event.body["measurements"]
    assert pipeline.rate() == 1


@both
def test_a_block_of_before_reading_is_read_when_it_is_replayed() -> None:
    shop = make_shop()
    store_event(shop, {}, body={"usage": PROVIDERS["google"]})
    pipeline.rate()
    assert LedgerEntry.objects.filter(event_id__isnull=False).count() == 1
    kept = store_event(shop, {"output_tokens": 5}, body={"usage": PROVIDERS["google"]})
    assert decode(json.dumps(kept.body)).measurements == {"output_tokens": "5"}


def test_the_hash_is_of_what_was_sent(bare: Door, seller: Seller) -> None:
    bare.post(seller, _event(seller, "e-1", usage=PROVIDERS["openai"]))
    [row] = seller.stored()
    assert "reading" in row.body
    whole = json.dumps(row.body, default=str, sort_keys=True).encode()
    assert hashlib.sha256(whole).digest() != bytes(row.body_hash)
    assert clock.now() - row.received_at < dt.timedelta(minutes=1)
