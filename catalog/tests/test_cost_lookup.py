"""Which rate a call has: names, providers, contexts, regions, tiers, hours, parts."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from aforo.core.models import Tenant
from aforo.lib import sql
from catalog import costs
from catalog.cost_context import names, situation, window
from catalog.cost_rates import add_rate, import_library
from catalog.costs import Cost
from catalog.leaves import token_leaves

pytestmark = pytest.mark.django_db

SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
TOKENS = {"input_tokens": Decimal(1_000_000)}


@pytest.fixture
def acme() -> Tenant:
    return Tenant.objects.create(name="Acme")


def put(tenant: Tenant, amount: str, **given: Any) -> None:
    subject: dict[str, Any] = {
        "provider": "openai",
        "model": "m-1",
        "unit": "input_uncached_tokens",
    }
    add_rate(
        tenant=tenant,
        **{**subject, "valid_from": SINCE, "per": 1_000_000, **given},
        amount=Decimal(amount),
        currency="USD",
        actor=None,
    )


def cost(
    tenant: Tenant, model: str = "m-1", at: dt.datetime = NOW, **given: Any
) -> Cost:
    measured = given.pop("measurements", TOKENS)
    return costs.load([tenant.pk])[tenant.pk].cost(
        event_type="llm.completion",
        model=model,
        tool=given.pop("tool", ""),
        measurements=measured,
        at=at,
        properties={k: str(v) for k, v in given.items()},
    )


def test_leaves_are_disjoint_and_add_up_to_the_totals() -> None:
    measured = {
        "input_tokens": 1000,
        "cache_read_tokens": 300,
        "cache_audio_read_tokens": 50,
        "cache_write_tokens": 200,
        "cache_write_5m_tokens": 120,
        "cache_write_1h_tokens": 30,
        "input_audio_tokens": 150,
        "input_image_tokens": 40,
        "output_tokens": 500,
        "output_audio_tokens": 100,
        "reasoning_tokens": 60,
    }
    found = dict(token_leaves({k: Decimal(v) for k, v in measured.items()}))
    assert found == {
        "cache_audio_read_tokens": 50,
        "input_audio_tokens": 100,
        "input_image_tokens": 40,
        "cache_write_5m_tokens": 120,
        "cache_write_1h_tokens": 30,
        "cache_read_tokens": 250,
        "cache_write_tokens": 50,
        "input_uncached_tokens": 360,
        "output_audio_tokens": 100,
        "output_tokens": 400,
    }
    assert sum(found.values()) == 1500


def test_reasoning_is_a_leaf_only_where_it_has_a_rate() -> None:
    measured = {"output_tokens": Decimal(100), "reasoning_tokens": Decimal(60)}
    assert dict(token_leaves(measured)) == {"output_tokens": 100}
    assert dict(token_leaves(measured, {"reasoning_tokens"})) == {
        "reasoning_tokens": 60,
        "output_tokens": 40,
    }


@pytest.mark.parametrize(
    "name",
    [
        "claude-sonnet-4-5",
        "Claude-Sonnet-4-5",
        "claude-sonnet-4-5-20250929",
        "claude-sonnet-4.5",
        "anthropic/claude-sonnet-4.5",
        "claude-sonnet-4-5@20250929",
        "vertex_ai/claude-sonnet-4-5@20250929",
        "openrouter/anthropic/claude-sonnet-4-5",
    ],
)
def test_a_model_is_found_by_every_name_it_goes_by(acme, name) -> None:
    import_library([("anthropic", "claude-sonnet-4-5")], SINCE)
    found = cost(acme, name, measurements={"input_tokens": Decimal(1000)})
    assert (found.amount, found.provider) == (Decimal("0.003"), "anthropic")


def test_regional_profiles_have_the_regional_price(acme) -> None:
    import_library(
        [
            ("aws", "regional.anthropic.claude-haiku-4-5-20251001-v1:0"),
            ("aws", "global.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ],
        SINCE,
    )
    bare = "anthropic.claude-haiku-4-5-20251001-v1:0"
    one = {"input_tokens": Decimal(1000)}
    for name in (f"us.{bare}", f"bedrock/eu.{bare}", bare):
        assert cost(acme, name, measurements=one).amount == Decimal("0.0011")
    assert cost(acme, f"global.{bare}", measurements=one).amount == Decimal("0.001")


def test_a_dated_model_that_is_listed_apart_is_not_the_undated_one(acme) -> None:
    import_library([("openai", "gpt-4o")], SINCE)
    assert cost(acme, "gpt-4o-2024-08-06").amount == Decimal("2.5")
    assert cost(acme, "gpt-4o-2024-05-13").amount is None


def test_the_provider_that_was_told_wins_else_the_maker(acme) -> None:
    put(acme, "3", provider="groq")
    put(acme, "2", provider="openai")
    assert cost(acme, provider="groq").amount == Decimal(3)
    assert cost(acme, provider="openai").amount == Decimal(2)
    assert names("groq/m-1")[1] == ("groq", "m-1")
    assert cost(acme, "groq/m-1").amount == Decimal(3)


def test_sources_rank_contract_manual_invoice_library(acme) -> None:
    import_library([("openai", "gpt-4o")], SINCE)
    seen = [cost(acme, "gpt-4o").amount]
    for source, amount in (("invoice", "2.4"), ("manual", "2.3"), ("contract", "2")):
        put(acme, amount, model="gpt-4o", source=source)
        seen.append(cost(acme, "gpt-4o").amount)
    assert seen == [Decimal(a) for a in ("2.5", "2.4", "2.3", "2")]


@pytest.mark.parametrize(
    ("told", "context"),
    [
        ({}, ""),
        ({"service_tier": "default", "speed": "standard"}, ""),
        ({"service_tier": "FLEX"}, "flex"),
        ({"requestType": "batch"}, "batch"),
        ({"requestType": "priority"}, ""),
        ({"requestType": "batch", "speed": "fast"}, "batch+fast"),
        ({"service_tier": "brand_new"}, "brand_new"),
    ],
)
def test_the_context_of_a_request(told, context) -> None:
    assert situation(told).context == context


def test_a_context_without_rate_is_unknown_and_never_the_full_price(acme) -> None:
    import_library([("openai", "gpt-4o")], SINCE)
    assert cost(acme, "gpt-4o", service_tier="priority").amount == Decimal("4.25")
    assert cost(acme, "gpt-4o", requestType="batch").amount == Decimal("1.25")
    asked: tuple[dict[str, Any], ...] = ({"service_tier": "flex"}, {"speed": "warp"})
    for told in asked:
        found = cost(acme, "gpt-4o", **told)
        assert found.amount is None
        assert f"({next(iter(told.values()))})" in found.unknown


def test_before_the_list_knew_batch_prices_they_are_unknown(acme) -> None:
    import_library([("openai", "gpt-4o")], SINCE)
    september = dt.datetime(2026, 9, 30, tzinfo=dt.UTC)
    assert cost(acme, "gpt-4o", at=september).amount == Decimal("2.5")
    assert cost(acme, "gpt-4o", at=september, requestType="batch").amount is None


def test_a_search_costs_as_much_in_a_batch(acme) -> None:
    import_library([("openai", "gpt-4o")], SINCE)
    measured = {"input_tokens": Decimal(1_000_000), "web_searches": Decimal(2)}
    found = cost(acme, "gpt-4o", measurements=measured, requestType="batch")
    assert found.amount == Decimal("1.27")


def test_a_region_of_its_own_wins_over_everywhere(acme) -> None:
    put(acme, "1")
    put(acme, "1.1", region="eu-central-1")
    assert cost(acme, region="eu-central-1").amount == Decimal("1.1")
    assert cost(acme, region="us-east-1").amount == Decimal(1)
    assert cost(acme).amount == Decimal(1)


@pytest.mark.parametrize(("prompt", "each"), [(200_000, "3"), (200_001, "6")])
def test_the_long_tier_is_a_cliff_on_the_whole_prompt(acme, prompt, each) -> None:
    import_library([("anthropic", "claude-sonnet-4-5")], SINCE)
    measured = {
        "input_tokens": Decimal(prompt),
        "cache_read_tokens": Decimal(prompt - 1000),
        "output_tokens": Decimal(1000),
    }
    found = cost(acme, "claude-sonnet-4-5", measurements=measured)
    rates = {line.unit: line.price * 1_000_000 for line in found.lines}
    assert rates["input_uncached_tokens"] == Decimal(each)
    assert rates["output_tokens"] == (15 if each == "3" else Decimal("22.5"))


def test_hours_are_utc_and_days_are_those_at_which_a_night_began() -> None:
    night = window("fri 22:00-02:00")
    assert night is not None
    friday = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    hours = {
        h: night.active(friday + dt.timedelta(hours=h)) for h in (1, 21, 22, 25, 26)
    }
    assert hours == {1: False, 21: False, 22: True, 25: True, 26: False}
    zone = dt.timezone(dt.timedelta(hours=8))
    assert night.active(friday.replace(hour=23).astimezone(zone))


def test_writing_to_the_one_hour_cache_never_costs_as_the_short_one(acme) -> None:
    put(acme, "1")
    put(acme, "1.25", unit="cache_write_tokens")
    short = {
        "input_tokens": Decimal(1_000_000),
        "cache_write_5m_tokens": TOKENS["input_tokens"],
    }
    long = {
        "input_tokens": Decimal(1_000_000),
        "cache_write_1h_tokens": TOKENS["input_tokens"],
    }
    assert cost(acme, measurements=short).amount == Decimal("1.25")
    assert cost(acme, measurements=long).amount is None


def test_cached_audio_of_unknown_share_is_unknown(acme) -> None:
    import_library([("google", "gemini-2.5-flash")], SINCE)
    measured = {
        "input_tokens": Decimal(1000),
        "input_audio_tokens": Decimal(600),
        "cache_read_tokens": Decimal(500),
    }
    found = cost(acme, "gemini-2.5-flash", measurements=measured)
    assert (found.amount, found.unknown) == (
        None,
        "unknown how much of the cache was audio",
    )
    told = measured | {"cache_audio_read_tokens": Decimal(400)}
    # 400 audio and 100 text cached; 200 audio and 300 text not.
    expected = 400 * Decimal("0.1") + 100 * Decimal("0.03") + 200 + 300 * Decimal("0.3")
    found = cost(acme, "gemini-2.5-flash", measurements=told)
    assert found.amount == expected / 1_000_000


def test_a_charged_count_without_rate_is_unknown_and_a_free_one_is_not(acme) -> None:
    put(acme, "1")
    free = {**TOKENS, "web_fetches": Decimal(2), "latency_ms": Decimal(9)}
    assert cost(acme, measurements=free).amount == Decimal(1)
    charged = {**TOKENS, "web_searches": Decimal(2)}
    found = cost(acme, measurements=charged)
    assert (found.amount, found.unknown) == (None, "no rate for m-1 web_searches")


def test_an_hour_of_audio_is_exact_though_a_second_is_not(acme) -> None:
    import_library([("groq", "whisper-large-v3")], SINCE)
    measured = {"audio_seconds": Decimal(1800)}
    found = cost(acme, "whisper-large-v3", measurements=measured)
    assert found.amount == Decimal("0.0555")


def test_infrastructure_costs_by_what_was_measured(acme) -> None:
    storage: dict[str, Any] = {"provider": "tool", "model": "s3.put", "per": 1}
    put(acme, "0.02", unit="storage_gb_hours", **storage)
    book = costs.load([acme.pk])[acme.pk]
    given: dict[str, Any] = {
        "model": "",
        "tool": "s3.put",
        "event_type": "mcp.tool_invoked",
    }
    measured = {"storage_gb_hours": Decimal(3)}
    assert book.cost(**given, measurements=measured, at=NOW).amount == Decimal("0.06")
    put(acme, "0.005", unit="tool.call", **storage)
    book = costs.load([acme.pk])[acme.pk]
    assert book.cost(**given, measurements=measured, at=NOW).amount == Decimal("0.065")


def test_any_write_to_the_rates_is_seen_by_the_next_batch(acme) -> None:
    put(acme, "1")
    assert cost(acme).amount == Decimal(1)
    with sql.cursor() as cursor:
        cursor.execute("UPDATE catalog_costrate SET amount = amount * 2")
    assert cost(acme).amount == Decimal(2)
