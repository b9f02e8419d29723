"""Versions compared: every change is named once, with both values and the ratio."""

from __future__ import annotations

from decimal import Decimal

import pytest

from catalog.difference import Change, Kind, Terms, compare
from catalog.pricing import parse_plan

TOKENS = {"key": "tokens", "aggregation": "sum", "measurement": "tokens"}


def charge(price, key="c", **more):
    """Return a charge in plan JSON; everything but a flat amount counts tokens."""
    metric = {} if price["model"] == "flat" else {"metric": TOKENS, "unit": "tokens"}
    return {"key": key, "name": key.title(), "price": price, **metric, **more}


def terms(*charges, limits=None, prorate=False, currency="USD"):
    """Return what a version of these charges says."""
    plan = parse_plan({"currency": currency, "charges": list(charges)})
    return Terms(plan, limits or {}, prorate)


def per_unit(amount, per=1):
    """Return a price for units."""
    return {"model": "per_unit", "unit_amount": amount, "per": per}


def tiers(model, *rows):
    """Return a tiered price of (up_to, unit_amount, flat_amount) rows."""
    made = [{"up_to": u, "unit_amount": a, "flat_amount": f} for u, a, f in rows]
    return {"model": model, "tiers": made}


def changed(old, new):
    """Return the changes of the one charge that changed."""
    (found,) = compare(terms(charge(old)), terms(charge(new))).charges
    assert found.kind is Kind.CHANGED
    return {c.label: (c.old, c.new, c.ratio) for c in found.changes}


def test_versions_that_say_the_same_have_no_difference():
    one = terms(charge(per_unit("1")), limits={"spend_cap": "5"})
    found = compare(one, one)
    assert found.is_empty
    assert found.unchanged == 1


def test_charges_come_and_go_by_key():
    old = terms(charge(per_unit("1"), "a"), charge(per_unit("1"), "b"))
    new = terms(charge(per_unit("1"), "a"), charge(per_unit("2"), "d"))
    found = compare(old, new)
    assert [(c.kind, c.key) for c in found.charges] == [
        (Kind.ADDED, "d"),
        (Kind.REMOVED, "b"),
    ]
    assert found.charges[0].words == "$2.00 per token"
    assert found.unchanged == 1


def test_a_price_has_its_percent_change():
    found = changed(per_unit("0.80"), per_unit("0.85"))
    assert found == {"Price": ("$0.80 per token", "$0.85 per token", Decimal("0.0625"))}


def test_a_price_for_another_number_of_units_is_compared_for_one():
    found = changed(per_unit("3.00", 1_000_000), per_unit("0.006", 1000))
    assert found["Price"] == (
        "$3.00 per 1M tokens",
        "$0.006 per 1K tokens",
        Decimal(1),
    )


def test_a_price_from_nothing_has_no_ratio():
    assert changed(per_unit("0"), per_unit("1"))["Price"][2] is None


def test_tiers_are_compared_one_by_one():
    found = changed(
        tiers("graduated", ("1000", "0.010", "0"), (None, "0.009", "5")),
        tiers(
            "graduated",
            ("1000", "0.010", "0"),
            ("10000", "0.008", "5"),
            (None, "0.005", "0"),
        ),
    )
    assert found["Tier 2 up to"] == ("no end", "10,000", None)
    assert found["Tier 2 price"][:2] == ("$0.009 per token", "$0.008 per token")
    assert found["Tier 3 price"] == ("", "$0.005 per token", None)
    assert "Tier 1 price" not in found
    assert "Tier 2 flat amount" not in found


def test_another_model_is_named_with_what_it_brings():
    found = changed(
        tiers("graduated", ("10", "1", "0"), (None, "2", "0")),
        tiers("volume", ("10", "1", "0"), (None, "2", "0")),
    )
    assert found == {"Charge model": ("Graduated", "Volume", None)}


@pytest.mark.parametrize(
    ("old", "new", "label", "expected"),
    [
        (
            {"model": "flat", "amount": "99", "due": "advance"},
            {"model": "flat", "amount": "99", "due": "arrears"},
            "Due",
            ("in advance", "at the end", None),
        ),
        (
            {"model": "included", "units": "1000", "overage": per_unit("1")},
            {"model": "included", "units": "500", "overage": per_unit("1")},
            "Included",
            ("1,000 tokens", "500 tokens", Decimal("-0.5")),
        ),
        (
            {"model": "package", "size": "1000", "amount": "1"},
            {"model": "package", "size": "1000", "amount": "1.10"},
            "Price",
            ("$1.00 per package", "$1.10 per package", Decimal("0.1")),
        ),
        (
            {"model": "percentage", "rate": "2.5", "minimum": "0.50"},
            {"model": "percentage", "rate": "2.5"},
            "At least an event",
            ("$0.50", "", None),
        ),
    ],
)
def test_parameters_of_every_model(old, new, label, expected):
    assert changed(old, new) == {label: expected}


def test_filters_are_compared_in_full():
    old = charge(per_unit("1"), filter={"region": ["a", "b", "c", "d", "e"]})
    new = charge(per_unit("1"), filter={"region": ["a", "b", "c", "d", "f"]})
    (found,) = compare(terms(old), terms(new)).charges
    assert [c.label for c in found.changes] == ["Only when"]


def test_limits_and_proration():
    old = terms(
        charge(per_unit("1")),
        limits={
            "requests_per_minute": 60,
            "spend_cap": "25",
            "quotas": [{"metric": "tokens", "limit": 10, "on_exceed": "deny"}],
        },
    )
    new = terms(
        charge(per_unit("1")),
        limits={
            "requests_per_minute": 120,
            "spend_cap": None,
            "quotas": [{"metric": "tokens", "limit": 10, "on_exceed": "bill"}],
            "estimate": {"tokens": "0.000003"},
            "on_outage": "closed",
            "wallet_required": True,
        },
        prorate=True,
    )
    found = compare(old, new)
    assert {c.label: (c.old, c.new) for c in found.limits} == {
        "Requests a minute": ("60", "120"),
        "Quota of tokens": ("10 a period, then refused", "10 a period, then billed"),
        "Estimate of tokens": ("", "$0.000003 per unit"),
        "When the guard's store is away": ("", "refuse calls"),
        "Wallet": ("", "required"),
        "Spend cap a period": ("$25.00", ""),
    }
    assert found.prorate == Change(
        "Fixed amounts", "whole periods", "by the days in force"
    )


def test_another_currency_has_no_ratios():
    found = compare(
        terms(charge(per_unit("1"))), terms(charge(per_unit("2")), currency="EUR")
    )
    assert found.currency == Change("Currency", "USD", "EUR")
    assert found.charges[0].changes == (
        Change("Price", "$1.00 per token", "€2.00 per token"),
    )


def test_another_order_is_said():
    a, b = charge(per_unit("1"), "a"), charge(per_unit("1"), "b")
    found = compare(terms(a, b), terms(b, a))
    assert found.reordered
    assert found.charges == ()
    assert not found.is_empty


def test_prices_in_further_currencies_are_compared_too():
    def sold(eur=None):
        body: dict[str, object] = {
            "currency": "USD",
            "charges": [charge(per_unit("1", 1000))],
        }
        if eur is not None:
            body["currencies"] = {
                "EUR": {"charges": {"c": {"price": per_unit(eur, 1000)}}}
            }
        return Terms(parse_plan(body), {}, prorate=False)

    assert compare(sold("2"), sold("2")).is_empty
    (found,) = compare(sold("2"), sold("3")).charges
    assert found.changes == (
        Change(
            "Price, EUR", "€2.00 per 1K tokens", "€3.00 per 1K tokens", Decimal("0.5")
        ),
    )
    added = compare(sold(), sold("3"))
    assert added.currencies == Change("Other currencies", "", "EUR")
    assert added.charges[0].changes[0].new == "€3.00 per 1K tokens"
