"""What cost lines have in common: written once, found without looking."""

from __future__ import annotations

import json
import threading
import uuid
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, connections, transaction

from aforo.core import tenancy
from aforo.lib.invariants import rows
from catalog.cost_lines import CostLine, cost_lines
from metering import cost_bases, invariants, pipeline
from metering.models import CostBasis, CostFact
from tests.factories import Shop, add_cost, make_shop, make_tenant, store_event

pytestmark = pytest.mark.django_db
BASIS = ("input_tokens", "0.0000025", "r-1", "tool.call", "0.002", "r-2")


def costed(shop: Shop, **measured: int) -> CostFact:
    """Return the cost of an event."""
    event = store_event(shop, measured, properties={"model": "gpt-4o"})
    pipeline.rate()
    return CostFact.objects.get(event=event)


def priced_shop() -> Shop:
    """Return a shop whose model has prices."""
    shop = make_shop()
    for unit, amount in (("input_uncached_tokens", "2"), ("output_tokens", "3.5")):
        add_cost(shop.tenant, model="gpt-4o", unit=unit, amount=amount)
    return shop


def inserted(write: Any) -> int:
    """Return how many bases are offered to the table while something is done."""
    seen: list[int] = []
    original = cost_bases._insert

    def counting(fresh: dict[Any, Any]) -> None:
        seen.append(len(fresh))
        original(fresh)

    cost_bases._insert = counting
    try:
        write()
    finally:
        cost_bases._insert = original
    return sum(seen)


def test_events_of_one_model_share_a_basis() -> None:
    shop = priced_shop()
    facts = [costed(shop, input_tokens=n, output_tokens=4) for n in (10, 20)]
    other = costed(shop, output_tokens=4)
    assert other.basis is not None
    (basis,) = CostBasis.objects.exclude(pk=other.basis.pk)
    assert [fact.basis for fact in facts] == [basis, basis]
    assert [fact.figures for fact in facts] == ["10 20 4 14", "20 40 4 14"]
    assert [line[:4] for line in facts[0].lines] == [
        ("input_uncached_tokens", Decimal(10), Decimal(2), Decimal(20)),
        ("output_tokens", Decimal(4), Decimal("3.5"), Decimal(14)),
    ]
    assert other.figures == "4 14"
    assert list(invariants.costs_can_be_read()) == []


def test_a_cost_without_lines_has_no_basis() -> None:
    fact = costed(make_shop(), input_tokens=5)
    assert (fact.basis, fact.figures, fact.lines) == (None, "", [])


@pytest.mark.parametrize("unit", ["output_tokens", 'a "b" \\ c', "é ☃ 𝄞", "\t\x1f\x7f"])
def test_the_id_is_the_same_in_the_database(unit: str) -> None:
    tenant = make_tenant()
    (key,) = cost_bases.save([(tenant.pk, (unit, "0.5", "r-1"))])
    basis = CostBasis.objects.get()
    assert basis.parts == [[unit, "0.5", "r-1"]]
    ((same,),) = rows(
        "SELECT aforo_cost_basis_id(tenant_id, parts) FROM metering_costbasis"
    )
    assert same == key == basis.pk
    assert key is not None
    assert (key.version, key.variant) == (8, uuid.RFC_4122)


def test_two_tenants_share_nothing() -> None:
    mine, theirs = make_tenant(), make_tenant()
    keys = cost_bases.save([(mine.pk, BASIS), (theirs.pk, BASIS), (mine.pk, BASIS)])
    assert keys[0] == keys[2] != keys[1]
    with tenancy.as_web(tenant_id=mine.pk):
        assert [basis.pk for basis in CostBasis.objects.all()] == [keys[0]]


def test_rows_are_never_changed() -> None:
    cost_bases.save([(make_tenant().pk, BASIS)])
    for statement in ("UPDATE metering_costbasis SET parts = '[]'", "DELETE FROM {}"):
        with (
            pytest.raises(IntegrityError, match="never changed"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement.format("metering_costbasis"))


@pytest.mark.django_db(transaction=True)
def test_only_what_is_committed_is_remembered() -> None:
    tenant = make_tenant()

    def save() -> None:
        cost_bases.save([(tenant.pk, BASIS)])

    def take_back() -> None:
        with transaction.atomic():
            save()
            transaction.set_rollback(True)

    assert inserted(take_back) == 1
    assert not CostBasis.objects.exists()
    assert inserted(save) == 1
    assert inserted(save) == 0
    # Another connection has not seen it, and writes it in vain.
    connections["default"].close()
    assert inserted(save) == 1
    assert CostBasis.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_full_memory_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_bases, "KEPT_MAX", 3)
    tenant = make_tenant()
    for number in range(10):
        cost_bases.save([(tenant.pk, ("calls", str(number), "r"))])
        known = cost_bases._committed[connection.connection]
        assert 0 < len(known) <= 3
    assert CostBasis.objects.count() == 10


@pytest.mark.django_db(transaction=True)
def test_two_writers_of_one_basis_both_get_it() -> None:
    """The second waits for the first, and finds the row that it committed."""
    tenant = make_tenant()
    text = cost_bases.text_of(BASIS)
    key = cost_bases.id_of(tenant.pk, text)
    info = connection.get_connection_params()
    names = ("dbname", "host", "port", "user", "password")
    found: list[Any] = []

    def save() -> None:
        try:
            found.extend(cost_bases.save([(tenant.pk, BASIS)]))
        finally:
            connection.close()

    second = threading.Thread(target=save)
    with psycopg.connect(**{n: info[n] for n in names if info.get(n)}) as first:
        first.execute(
            "INSERT INTO metering_costbasis (id, created_at, tenant_id, parts)"
            " VALUES (%s, now(), %s, %s)",
            [key, tenant.pk, text],
        )
        second.start()
        second.join(timeout=0.3)
        assert second.is_alive()
        first.commit()
        second.join(timeout=10)
    assert found == [key]
    assert CostBasis.objects.count() == 1


def test_verify_names_figures_that_do_not_fit() -> None:
    fact = costed(priced_shop(), input_tokens=10, output_tokens=4)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE metering_costfact SET figures = '10 20'")
    (said,) = invariants.costs_can_be_read()
    assert said == f"event {fact.event_id}: 2 figures do not fit the cost basis" + (
        f" {fact.basis_id}"
    )
    with connection.cursor() as cursor:
        cursor.execute("UPDATE metering_costfact SET figures = '10 20 4 14'")
        cursor.execute('UPDATE metering_costbasis SET parts = \'[["a","1","x"]]\'')
    told = list(invariants.costs_can_be_read())
    assert len(told) == 2
    assert told[1] == f"cost basis {fact.basis_id}: its id is not that of its parts"
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM metering_costbasis")
        cursor.execute("SET session_replication_role = DEFAULT")
    (said,) = invariants.costs_can_be_read()
    assert "do not fit the cost basis" in said


def test_the_database_reads_lines_as_python_does() -> None:
    parts = [["calls", "0.002", "r-1"], ["output_tokens", "0.00001", "r-2"]]
    figures = "3 0.006 800 0.008"
    found = rows(
        "SELECT unit, quantity, price, amount, rate_id FROM"
        " aforo_cost_lines(%(parts)s::jsonb, %(figures)s)",
        parts=json.dumps(parts),
        figures=figures,
    )
    assert [CostLine(*row) for row in found] == cost_lines(parts, figures)
    with pytest.raises(ValueError, match="shorter"):
        cost_lines(parts, "3 0.006")
