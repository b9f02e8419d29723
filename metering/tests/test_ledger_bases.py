"""What ledger entries have in common: written once, read as if it were their own."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aforo.core import tenancy
from aforo.lib.invariants import rows
from aforo.lib.money import figures_of, figures_text
from billing import invariants, ledger_bases
from billing.models import LedgerBasis, LedgerEntry
from metering import pipeline
from tests.factories import make_shop, make_tenant, store_event

pytestmark = pytest.mark.django_db
STEPS = ('["unit","15","1000000"]', "[]")
numbers = st.decimals(-(10**20), 10**20, places=12, allow_nan=False)


def test_events_with_the_same_charges_share_a_basis() -> None:
    shop = make_shop()
    events = [store_event(shop, {"tool_calls": n}) for n in (2, 3)]
    pipeline.rate()
    first, second = (LedgerEntry.objects.get(event_id=e.pk) for e in events)
    assert first.basis_id == second.basis_id
    assert first.own_steps is second.own_steps is None
    assert (first.charge_keys, first.quantities) == (["calls"], [2])
    assert second.quantities == [3]
    assert len(first.steps) == 1
    assert isinstance(first.steps[0][0], str)
    assert list(invariants.entries_can_be_read()) == []


@pytest.mark.parametrize("key", ["calls", 'a "b" \\ c', "é ☃ 𝄞", "\t\x1f\x7f"])
@pytest.mark.parametrize("steps", [None, STEPS])
def test_the_id_is_the_same_in_the_database(key: str, steps: Any) -> None:
    tenant = make_tenant()
    (made,) = ledger_bases.save([(tenant.pk, (key, "more"), steps)])
    basis = LedgerBasis.objects.get()
    assert basis.charge_keys == [key, "more"]
    assert basis.steps == (steps and [json.loads(text) for text in steps])
    ((same,),) = rows(
        "SELECT aforo_ledger_basis_id(tenant_id, charge_keys, steps)"
        " FROM billing_ledgerbasis"
    )
    assert same == made == basis.pk
    assert (made.version, made.variant) == (8, uuid.RFC_4122)


def test_steps_with_quantities_stay_with_the_entry() -> None:
    tenant = make_tenant()
    own = '[["tier","2","3","6"],["tier","1","2","2"]]'
    assert ledger_bases.basis_of(tenant.pk, ["a", "b"], [STEPS[0], own]) == (
        (tenant.pk, ("a", "b"), None)
    )
    assert ledger_bases.basis_of(tenant.pk, ["a", "b"], STEPS)[2] == STEPS


def test_two_tenants_share_nothing() -> None:
    mine, theirs = make_tenant().pk, make_tenant().pk
    keys = ledger_bases.save([(one, ("a",), None) for one in (mine, theirs, mine)])
    assert keys[0] == keys[2] != keys[1]
    with tenancy.as_web(tenant_id=mine):
        assert [basis.pk for basis in LedgerBasis.objects.all()] == [keys[0]]


def test_rows_are_never_changed() -> None:
    ledger_bases.save([(make_tenant().pk, ("a",), None)])
    for statement in ("UPDATE {} SET charge_keys = '{{}}'", "DELETE FROM {}"):
        with (
            pytest.raises(IntegrityError, match="never changed"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement.format("billing_ledgerbasis"))


@pytest.mark.django_db(transaction=True)
def test_only_what_is_committed_is_remembered() -> None:
    basis: ledger_bases.Basis = make_tenant().pk, ("a",), STEPS[:1]
    with transaction.atomic():
        ledger_bases.save([basis])
        transaction.set_rollback(True)
    assert not LedgerBasis.objects.exists()
    ledger_bases.save([basis])
    assert LedgerBasis.objects.count() == 1
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM billing_ledgerbasis")
        cursor.execute("SET session_replication_role = DEFAULT")
    ledger_bases.save([basis])  # It is known, so nothing is written.
    assert not LedgerBasis.objects.exists()
    connection.close()
    ledger_bases.save([basis])
    assert LedgerBasis.objects.count() == 1


def test_verify_names_entries_that_do_not_fit() -> None:
    shop = make_shop()
    event = store_event(shop, {"tool_calls": 2})
    pipeline.rate()
    entry = LedgerEntry.objects.get(event_id=event.pk)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE billing_ledgerentry SET own_steps = '[]'")
        told = list(invariants.entries_can_be_read())
        assert f"entry {entry.pk}: its steps are told twice, or nowhere" in told
        cursor.execute("UPDATE billing_ledgerentry SET own_steps = NULL")
        assert list(invariants.entries_can_be_read()) == []
        cursor.execute("UPDATE billing_ledgerbasis SET charge_keys = '{tokens}'")
        (said,) = invariants.entries_can_be_read()
        assert "its id is not that of its content" in said
        # Which charge an entry moves is sealed with it.
        assert any("differs from what was" in said for said in invariants.chains_hold())
        cursor.execute("DELETE FROM billing_ledgerbasis")
        assert any(str(entry.pk) in said for said in invariants.entries_add_up())
        cursor.execute("SET session_replication_role = DEFAULT")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(numbers, max_size=4))
def test_the_database_reads_figures_as_python_does(given_: list[Decimal]) -> None:
    text = figures_text(given_)
    assert figures_of(text) == given_
    ((found,),) = rows("SELECT aforo_figures(%(text)s)", text=text)
    assert found == given_
