"""Usage under a tool's other names: one price, one history, the same when re-rated."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aforo.lib import clock
from billing.models import LedgerEntry
from catalog import registry
from metering import invariants, pipeline
from metering.models import Unrateable, UsageEvent, UsageRollup
from tests.factories import Shop, add_cost, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db


def plan(**prices: str) -> dict[str, Any]:
    """Return a plan with a price for some tools and $0.50 for any other."""

    def charge(key: str, amount: str, **more: Any) -> dict[str, Any]:
        price = {"model": "per_unit", "unit_amount": amount}
        row = {"key": key, "name": key, "metric": "tool_calls", "price": price}
        return row | more

    named = [charge(t, amount, filter={"tool": t}) for t, amount in prices.items()]
    return {"currency": "USD", "charges": [charge("other", "0.50"), *named]}


def call(shop: Shop, tool: str) -> UsageEvent:
    """Store a call of a tool as the ingest door does."""
    return store_event(
        shop,
        {"tool_calls": 1},
        event_type="mcp.tool_invoked",
        tool_name=tool,
        properties={"tool": tool},
    )


def charged(event: UsageEvent) -> tuple[str, Decimal, list[str]]:
    """Return under which name an event was priced, for how much, by what."""
    entry = LedgerEntry.objects.get(event_id=event.pk)
    return entry.tool_name, entry.amount, entry.charge_keys


def test_a_renamed_tool_keeps_its_price_its_cost_and_its_history() -> None:
    shop = make_shop(body=plan(search="0.02"))
    add_cost(shop.tenant, model="search", unit="tool.call", amount="0.004")
    tool = registry.add_tool(product=shop.product, name="search", actor=None)
    before = call(shop, "search")
    pipeline.rate()
    registry.rename_tool(tool=tool, name="find", actor=None)
    after, stranger = call(shop, "find"), call(shop, "scan")
    pipeline.rate()
    assert charged(before) == charged(after) == ("search", Decimal("0.02"), ["search"])
    assert charged(stranger) == ("scan", Decimal("0.5"), ["other"])
    row = UsageRollup.objects.get(tool_name="search")
    assert (row.event_count, row.revenue, row.cost) == (
        2,
        Decimal("0.04"),
        Decimal("0.008"),
    )
    assert list(invariants.rating_again_gives_the_same()) == []


def test_a_tool_that_a_plan_does_not_price_is_free_and_not_listed() -> None:
    body = plan(search="0.02")
    shop = make_shop(body=body | {"charges": body["charges"][1:]})
    stranger = call(shop, "scan")
    pipeline.rate()
    assert charged(stranger) == ("scan", Decimal(0), [])
    assert not Unrateable.objects.exists()


def test_a_plan_that_names_the_new_name_prices_the_old_one_too() -> None:
    shop = make_shop(body=plan(find="0.03"))
    tool = registry.add_tool(product=shop.product, name="search", actor=None)
    registry.rename_tool(tool=tool, name="find", actor=None)
    old, new = call(shop, "search"), call(shop, "find")
    pipeline.rate()
    assert charged(old) == charged(new) == ("find", Decimal("0.03"), ["find"])
    assert list(invariants.rating_again_gives_the_same()) == []


def test_listing_a_name_that_a_plan_prices_moves_no_price_and_no_cost() -> None:
    shop = make_shop(body=plan(read="0.01", read_v1="0.09"))
    for name, amount in (("read", "0.001"), ("read_v1", "0.007")):
        add_cost(shop.tenant, model=name, unit="tool.call", amount=amount)
    registry.add_tool(
        product=shop.product, name="read", aliases=["read_v1"], actor=None
    )
    event = call(shop, "read_v1")
    pipeline.rate()
    assert charged(event) == ("read_v1", Decimal("0.09"), ["read_v1"])
    row = UsageRollup.objects.get()
    assert (row.tool_name, row.cost) == ("read", Decimal("0.007"))


def test_what_was_rated_is_explained_by_itself_whatever_is_listed_later() -> None:
    shop = make_shop(body=plan(search="0.02"))
    early = call(shop, "find")
    pipeline.rate()
    assert charged(early) == ("find", Decimal("0.5"), ["other"])
    tool = registry.add_tool(
        product=shop.product, name="search", aliases=["find"], actor=None
    )
    assert list(invariants.rating_again_gives_the_same()) == []
    late = call(shop, "find")
    pipeline.rate()
    registry.end_name(row=tool.names.get(), actor=None)
    registry.set_deprecated(tool=tool, deprecated=True, actor=None)
    assert charged(late) == ("search", Decimal("0.02"), ["search"])
    assert list(invariants.rating_again_gives_the_same()) == []


def test_a_name_counts_at_the_time_of_the_event() -> None:
    shop = make_shop(body=plan(search="0.02"))
    tool = registry.add_tool(product=shop.product, name="search", actor=None)
    registry.add_alias(tool=tool, name="find", valid_from=clock.now(), actor=None)
    after = call(shop, "find")
    before = store_event(
        shop,
        {"tool_calls": 1},
        tool_name="find",
        properties={"tool": "find"},
        at=clock.now() - dt.timedelta(minutes=1),
    )
    pipeline.rate()
    assert charged(after)[0] == "search"
    assert charged(before)[0] == "find"


def test_an_event_that_names_no_product_goes_by_that_of_its_contract() -> None:
    shop = make_shop(body=plan(search="0.02"))
    tool = registry.add_tool(product=shop.product, name="search", actor=None)
    registry.rename_tool(tool=tool, name="find", actor=None)
    event = store_event(
        shop,
        {"tool_calls": 1},
        tool_name="find",
        properties={"tool": "find"},
        product=None,
    )
    pipeline.rate()
    assert charged(event)[0] == "search"
    assert UsageRollup.objects.get().tool_name == "search"


def test_another_products_tools_do_not_count() -> None:
    shop, other = make_shop(body=plan(search="0.02")), make_shop()
    make_version(other.product)
    registry.add_tool(
        product=other.product, name="search", aliases=["find"], actor=None
    )
    event = call(shop, "find")
    pipeline.rate()
    assert charged(event)[0] == "find"


def test_a_batch_reads_its_tools_in_one_statement() -> None:
    shop = make_shop(body=plan(search="0.02"))
    for number in range(3):
        registry.add_tool(product=shop.product, name=f"t{number}", actor=None)
        call(shop, f"t{number}")
    with CaptureQueriesContext(connection) as many:
        pipeline.rate()
    call(shop, "t1")
    with CaptureQueriesContext(connection) as one:
        pipeline.rate()
    assert len(many) == len(one)
