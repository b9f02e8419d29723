"""The demo: real traffic through the real doors, into books that add up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import pytest

from aforo.demo import files, replay
from aforo.demo.files import Tokens
from tests import harness
from tests.harness import Instance
from tests.scenarios import replays

SLICE = 12_000
CLOSE = (
    "from aforo.lib import clock; from billing import invoicing;"
    " invoicing.close_periods(clock.now())"
)
# Sum of the ledger beside the invoice that would be issued now, per subscription. What
# holds for a whole plan is of the invoice alone until its period ends.
PREVIEWS = """
import json
from collections import defaultdict
from billing.models import BillingPeriod, LedgerEntry
from billing.preview import preview_period
from catalog.pricing.terms import is_plan_key
found = []
for period in BillingPeriod.objects.select_related("customer__tenant"):
    lines, sums = defaultdict(int), defaultdict(int)
    for currency in ("USD", "EUR"):
        made = preview_period(period, currency=currency)
        for line in made.lines if made else ():
            if not is_plan_key(line.charge_key):
                lines[str(line.subscription_id)] += line.exact_amount
    for entry in LedgerEntry.objects.filter(billing_period=period):
        for key, amount in zip(entry.charge_keys, entry.amounts, strict=True):
            if not is_plan_key(key):
                sums[str(entry.subscription_id)] += amount
    found += [[key, str(lines[key]), str(amount)] for key, amount in sums.items()]
print("PREVIEWS", json.dumps(found))
"""
# What was charged of one charge, by customer; and what agents used beyond their part
# of a commitment.
CHARGED = """
SELECT c.external_id, sum(k.quantity)
FROM billing_ledgerentry e JOIN billing_customer c ON c.id = e.customer_id
JOIN billing_ledgerbasis b ON b.id = e.basis_id
CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(e.quantities))
  AS k (charge_key, quantity)
WHERE k.charge_key = %s GROUP BY 1 ORDER BY 1
"""
BEYOND = """
SELECT a.external_id, sum(e.amount)
FROM billing_ledgerentry e JOIN billing_subscription s ON s.id = e.subscription_id
JOIN billing_agent a ON a.id = s.agent_id
WHERE e.event_id IS NOT NULL GROUP BY 1 ORDER BY 1
"""


class Halves(NamedTuple):
    """An instance, and what the two parts of its replay printed."""

    instance: Instance
    first: str
    second: str


@pytest.fixture(scope="module")
def halves() -> Iterator[Halves]:
    """An instance whose replay of a slice was stopped midway and taken up again."""
    with harness.short_folder() as folder:
        running = Instance(folder)
        running.start()
        try:
            first = replays.stop_at(running, 1, "--slice", str(SLICE))
            second = replays.run(running, "--slice", str(SLICE))
            yield Halves(running, first, second)
        finally:
            running.stop()


@pytest.fixture(scope="module")
def demo(halves) -> Instance:
    """An instance with a slice of the demo's history in its books."""
    return halves.instance


@pytest.mark.timeout(600)
def test_a_replay_that_was_stopped_goes_on_where_it_was(halves):
    assert "goes on from here" in halves.first
    assert f"{SLICE:,} of {SLICE:,}" not in halves.first
    shown = re.findall(rf"history .* (\S+) of {SLICE:,}", halves.second)
    assert int(shown[0].replace(",", "")) >= replay.CHUNK
    assert f"{SLICE:,} of {SLICE:,}" in halves.second


@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", files.FILES)
def test_every_token_of_the_slice_is_stored_as_its_file_says(demo, file):
    calls = replays.planned(demo)[:SLICE]
    wanted = replays.expected(calls, file)
    assert wanted != Tokens()
    assert replays.stored(demo, file) == wanted


def test_every_event_has_its_price_and_its_cost(demo):
    assert replays.query(demo, "SELECT count(*) FROM metering_unrateable") == [(0,)]
    unknown = "SELECT count(*) FROM metering_costfact WHERE amount IS NULL"
    assert replays.query(demo, unknown) == [(0,)]
    rated = "SELECT count(*) FROM billing_ledgerentry WHERE event_id IS NOT NULL"
    assert replays.query(demo, rated) == [(SLICE,)]


def test_the_ledger_of_a_subscription_is_its_part_of_the_invoice(demo):
    printed = demo.manage("shell", "-c", PREVIEWS).stdout
    found = json.loads(printed.partition("PREVIEWS")[2])
    assert len(found) > 10
    for subscription, on_invoice, booked in found:
        assert Decimal(on_invoice) == Decimal(booked), subscription


def test_every_invariant_holds(demo):
    assert demo.manage("verify").returncode == 0


@pytest.mark.timeout(600)
def test_a_second_replay_changes_nothing(demo):
    # The fees of the month that runs come by the clock, once; not in the middle here.
    assert demo.manage("shell", "-c", CLOSE).returncode == 0
    before = replays.books(demo)
    printed = replays.run(demo, "--again", "--slice", str(SLICE))
    assert f"{SLICE:,} duplicate" in printed
    assert replays.books(demo) == before


@pytest.mark.full
@pytest.mark.timeout(1_800)
def test_the_whole_history_is_billed_and_stops_the_agent_at_its_cap(demo):
    printed = replays.run(demo)
    assert replays.stored(demo, files.CONVERSATION) == Tokens(
        12_031, 90_695_412, 54_098_411, 4_122_048
    )
    assert printed.count("✓") == len(files.FILES)
    assert "4,000 spend_cap" in printed
    assert "rejected" not in printed
    assert "unknown cost" not in printed
    ((count, price),) = replays.query(
        demo,
        "SELECT event_count, price FROM metering_session WHERE key = %s",
        "transform-weekend",
    )
    assert (count, price) == (10_000, Decimal(2_500))
    issued = replays.query(
        demo, "SELECT count(*) FROM billing_invoice WHERE state = 'finalised'"
    )
    assert issued > [(0,)]
    check_contracts(demo)
    before = replays.books(demo)
    replays.run(demo, "--again")
    assert replays.books(demo) == before


def check_contracts(demo: Instance) -> None:
    """Hold what contracts are billed to what the scenes made of them."""
    reviewed = replays.query(demo, CHARGED, "reviewed")
    assert reviewed == [("falkner", 17), ("paragon", 21)]
    scale = replays.query(demo, CHARGED, "pages-scale")
    assert [customer for customer, pages in scale if pages] == ["falkner", "paragon"]
    ((customer, credits),) = replays.query(demo, CHARGED, "credits")
    assert (customer, credits > 1_000) == ("vantage", True)
    assert replays.query(demo, BEYOND) == [
        ("vantage-intake", 0),
        ("vantage-reviewer", Decimal("0.50")),
        ("vantage-sandbox", 0),
    ]
