"""Audit entries of drafts: one a saving, one a stretch of those nobody asked for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from aforo.core.models import AuditEntry, User
from aforo.lib import clock
from catalog import plans, products
from catalog.models import PlanVersion, ProductType
from tests.factories import make_tenant, make_user

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 11, 18, 12, 0, tzinfo=dt.UTC)
Save = Callable[..., PlanVersion]


@pytest.fixture
def save() -> Save:
    """Save a draft of one plan, so many minutes after noon, with another cap."""
    product = products.create_product(
        tenant=make_tenant(),
        name="API",
        code="api",
        type=ProductType.STANDARD_API,
        actor=None,
    )
    plan = plans.create_plan(product=product, name="Pro", code="pro", actor=None)
    body: dict[str, Any] = {"currency": "USD", "charges": []}

    def act(actor: User | None, minute: int, cap: str, **more: Any) -> PlanVersion:
        with clock.travel(NOW + dt.timedelta(minutes=minute)):
            return plans.save_draft(
                plan=plan, body=body, limits={"spend_cap": cap}, actor=actor, **more
            )

    return act


def names() -> list[str]:
    """Return who saved, oldest first."""
    entries = AuditEntry.objects.filter(action="plan.draft_saved").order_by("id")
    return [entry.actor_label for entry in entries]


def test_autosaves_of_one_person_within_ten_minutes_are_one_entry(save: Save) -> None:
    ana, ben = make_user(name="Ana"), make_user(name="Ben")
    for minute in range(10):
        draft = save(ana, minute, str(minute + 1), by_itself=True)
    assert (names(), draft.revision) == (["Ana"], 10)
    save(ana, 11, "11", by_itself=True)
    assert names() == ["Ana", "Ana"]
    save(ben, 12, "12", by_itself=True)
    save(ana, 13, "13", by_itself=True)
    assert names() == ["Ana", "Ana", "Ben", "Ana"]


def test_a_saving_that_was_asked_for_is_always_an_entry(save: Save) -> None:
    ana = make_user(name="Ana")
    save(ana, 0, "1")
    save(ana, 1, "2")
    assert names() == ["Ana", "Ana"]
    save(ana, 2, "3", by_itself=True)
    assert names() == ["Ana", "Ana"]
    assert save(ana, 3, "3").revision == 3
    assert names() == ["Ana"] * 3, "what was autosaved is now saved on purpose"
    save(ana, 4, "3")
    assert names() == ["Ana"] * 3, "nothing was new"


def test_autosaves_without_a_person_are_always_entries(save: Save) -> None:
    save(None, 0, "1", by_itself=True)
    save(None, 1, "2", by_itself=True)
    assert len(names()) == 2
