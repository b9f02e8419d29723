"""Saved quantities: kept, named otherwise, thrown away; each deed audited."""

from __future__ import annotations

import pytest

from aforo.core.models import AuditEntry
from aforo.lib.errors import AforoError
from catalog import plans, scenarios
from catalog.models import Plan, UsageScenario
from tests.factories import Shop, make_shop

pytestmark = pytest.mark.django_db
BOX = "q-0123456789"


@pytest.fixture
def shop(db: None) -> Shop:
    """A seller with a plan."""
    return make_shop()


@pytest.fixture
def plan(shop: Shop) -> Plan:
    """The plan whose quantities are kept."""
    return shop.version.plan


def kept(plan: Plan, name: str = "Growth month", text: str = "1,200") -> UsageScenario:
    """Keep one quantity."""
    return scenarios.save(plan=plan, name=name, quantities={BOX: text}, actor=None)


def actions() -> list[str]:
    """Return what was done to scenarios, the newest last."""
    found = AuditEntry.objects.filter(action__startswith="scenario.").order_by("id")
    return list(found.values_list("action", flat=True))


def test_quantities_are_kept_as_they_were_typed(plan: Plan, shop: Shop) -> None:
    made = scenarios.save(
        plan=plan,
        name="  Growth   month ",
        quantities={BOX: " 1,200 ", "k-0123456789": "", "name": "x", "q-x": "1"},
        actor=shop.owner,
    )
    made.refresh_from_db()
    assert (made.name, made.quantities) == ("Growth month", {BOX: "1,200"})
    assert made.tenant_id == plan.tenant_id
    entry = AuditEntry.objects.get(action="scenario.saved")
    assert entry.actor == shop.owner
    assert entry.object_label == "Growth month"


def test_a_scenario_is_replaced_renamed_and_deleted(plan: Plan) -> None:
    made = kept(plan)
    scenarios.replace(scenario=made, quantities={BOX: "7"}, actor=None)
    scenarios.rename(scenario=made, name="Quiet month", actor=None)
    made.refresh_from_db()
    assert (made.name, made.quantities) == ("Quiet month", {BOX: "7"})
    entry = AuditEntry.objects.get(action="scenario.replaced")
    assert entry.changes == {BOX: ["1,200", "7"]}
    scenarios.delete(scenario=made, actor=None)
    assert not UsageScenario.objects.exists()
    assert actions() == [
        f"scenario.{deed}" for deed in ("saved", "replaced", "renamed", "deleted")
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Growth month", "already_exists"),
        (" Growth  month", "already_exists"),
        (" ", "invalid_value"),
        ("x" * 81, "invalid_value"),
        ("a\0b", "invalid_value"),
    ],
)
def test_a_name_that_cannot_be_kept_is_refused(
    plan: Plan, name: str, code: str
) -> None:
    kept(plan)
    other = kept(plan, "Other")
    with pytest.raises(AforoError) as saving:
        kept(plan, name)
    with pytest.raises(AforoError) as naming:
        scenarios.rename(scenario=other, name=name, actor=None)
    assert (saving.value.code, naming.value.code) == (code, code)
    assert (saving.value.field, saving.value.status) == ("name", 422)
    assert actions() == ["scenario.saved"] * 2


def test_two_plans_have_scenarios_of_one_name(plan: Plan) -> None:
    kept(plan)
    other = plans.create_plan(product=plan.product, name="B", code="b", actor=None)
    kept(other)
    assert UsageScenario.objects.count() == 2


def test_no_more_is_kept_than_a_list_can_show(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "SCENARIOS_MAX", 1)
    kept(plan)
    with pytest.raises(AforoError, match="Delete one first"):
        kept(plan, "Other")
    with pytest.raises(AforoError, match="of 40 characters"):
        scenarios.replace(
            scenario=UsageScenario.objects.get(),
            quantities={BOX: "1" * 41},
            actor=None,
        )
