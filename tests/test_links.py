"""The links of the tables that take a row for every event."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from aforo.core import tenancy
from billing.models import LedgerEntry, Team
from metering import pipeline
from metering.models import CostFact, UsageEvent
from tests.factories import add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db

HOT: list[tuple[type[Any], str]] = [
    (model, field.name)
    for model in (LedgerEntry, UsageEvent, CostFact)
    for field in model._meta.local_fields
    if type(field).__name__ == "TenantForeignKey"
]


def _rated() -> Any:
    """Return a shop whose books have an entry for an event."""
    shop = make_shop()
    add_cost(shop.tenant, model="gpt-4o", unit="input_uncached_tokens", amount="1")
    store_event(shop, {"input_tokens": 1}, properties={"model": "gpt-4o"})
    pipeline.rate()
    return shop


def _copy_of(row: Any, **changed: Any) -> Any:
    """Return a new row like another one."""
    row.pk = uuid.uuid4()
    row._state.adding = True
    for name in ("event_id", "reverses_id"):
        if hasattr(row, name):
            setattr(row, name, uuid.uuid4() if name == "event_id" else None)
    for name, value in changed.items():
        setattr(row, name, value)
    return row


@pytest.mark.parametrize(
    ("model", "name"), HOT, ids=[f"{m.__name__}.{n}" for m, n in HOT]
)
def test_a_row_links_to_what_its_own_tenant_has(model: type[Any], name: str) -> None:
    mine, _ = _rated(), _rated()
    row = model.objects.filter(customer=mine.customer).first()
    target = model._meta.get_field(name).related_model
    stranger = target.objects.exclude(tenant=mine.tenant).first()
    for key in [uuid.uuid4(), *([stranger.pk] if stranger else [])]:
        copy = _copy_of(row, **{f"{name}_id": key})
        with (
            pytest.raises(IntegrityError, match="links to no row"),
            transaction.atomic(),
        ):
            copy.save(force_insert=True)


def test_an_unchanged_copy_is_taken() -> None:
    """What the test above copies fails for its link alone."""
    shop = _rated()
    for model in (LedgerEntry, UsageEvent, CostFact):
        row = model.objects.filter(customer=shop.customer).first()
        _copy_of(row).save(force_insert=True)
        assert model.objects.filter(customer=shop.customer).count() == 2


def test_a_parent_with_rows_stays() -> None:
    shop = _rated()
    team = Team.objects.create(tenant=shop.tenant, customer=shop.customer, name="Idle")
    row = LedgerEntry.objects.filter(customer=shop.customer).first()
    _copy_of(row, team_id=team.pk).save(force_insert=True)

    def delete() -> None:
        with (
            pytest.raises(IntegrityError, match="has rows of"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("DELETE FROM billing_team WHERE id = %s", [team.pk])

    delete()
    with tenancy.as_web(tenant_id=shop.tenant.pk):
        delete()


def test_a_parent_without_rows_can_go() -> None:
    shop = _rated()
    team = Team.objects.create(tenant=shop.tenant, customer=shop.customer, name="Idle")
    team.delete()
    assert not Team.objects.filter(pk=team.pk).exists()
