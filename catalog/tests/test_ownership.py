"""Who may change what in a draft: finance the markup, product managers the rest."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from aforo.core import service_keys
from aforo.core.models import AuditEntry, Membership, Role, User
from aforo.lib.errors import AforoError
from catalog import plans, publication
from catalog.models import Plan, PlanVersion
from catalog.tests.api_kit import Caller
from catalog.tests.recipe_kit import CREDITS, WEIGHTS, charge_of
from tests.factories import Shop, make_shop, make_user

pytestmark = pytest.mark.django_db
Change = Callable[[dict[str, Any]], None]


def body(markup: str | None = "20") -> dict[str, Any]:
    """Return a plan of credits, with a markup unless it is None."""
    more = {} if markup is None else {"markup_percent": markup}
    return {
        "currency": "USD",
        "charges": [
            {
                "key": "fee",
                "name": "Fee",
                "price": {"model": "flat", "amount": "9", "due": "advance"},
            },
            charge_of({**CREDITS, **more}),
        ],
    }


@pytest.fixture
def shop(db: None) -> Shop:
    """A tenant."""
    return make_shop()


@pytest.fixture
def plan(shop: Shop) -> Plan:
    """A plan with a draft of credits and a markup of 20 %."""
    made = plans.create_plan(
        product=shop.product, name="Credits", code="credits", actor=None
    )
    plans.save_draft(plan=made, body=body(), limits={"spend_cap": "9"}, actor=None)
    return made


def member(plan: Plan, role: Role) -> User:
    """Return somebody with a role in the plan's tenant."""
    person = make_user()
    Membership.objects.create(tenant_id=plan.tenant_id, user=person, role=role)
    return person


def save(plan: Plan, role: Role, said: dict[str, Any], **more: Any) -> PlanVersion:
    """Save a draft as somebody with a role."""
    given = {"limits": {"spend_cap": "9"}, **more}
    return plans.save_draft(plan=plan, body=said, actor=member(plan, role), **given)


def recipe(said: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe of a body."""
    price: dict[str, Any] = said["charges"][-1]["price"]
    return price


def _weight(said: dict[str, Any]) -> None:
    recipe(said)["weights"] = [{**WEIGHTS[0], "amount": "2"}, *WEIGHTS[1:]]


def _rate(said: dict[str, Any]) -> None:
    recipe(said)["price"] = {"model": "per_unit", "unit_amount": "0.02"}


def _name(said: dict[str, Any]) -> None:
    said["charges"][0]["name"] = "Platform"


def _added(said: dict[str, Any]) -> None:
    said["charges"].insert(0, {**said["charges"][0], "key": "other"})


def _gone(said: dict[str, Any]) -> None:
    del said["charges"][0]


def _currency(said: dict[str, Any]) -> None:
    said["currency"] = "EUR"


CHANGES: list[tuple[Change, str]] = [
    (_weight, "charges[1].price.weights[0].amount"),
    (_rate, "charges[1].price.price.unit_amount"),
    (_name, "charges[0].name"),
    (_added, "charges[0].key"),
    (_gone, "charges[0].key"),
    (_currency, "currency"),
]


@pytest.mark.parametrize(("change", "path"), CHANGES)
def test_a_product_manager_changes_all_but_the_markup(
    plan: Plan, change: Change, path: str
) -> None:
    said = body()
    change(said)
    assert save(plan, Role.PRODUCT_MANAGER, said).body == said


@pytest.mark.parametrize("markup", ["25", "0", None, "", "nonsense"])
def test_the_markup_is_refused_to_a_product_manager(
    plan: Plan, markup: str | None
) -> None:
    with pytest.raises(AforoError) as caught:
        save(plan, Role.PRODUCT_MANAGER, body(markup))
    error = caught.value
    assert (error.code, error.status) == ("finance_only", 403)
    assert error.field == "charges[1].price.markup_percent"
    assert "It is 20 % and you entered" in error.detail
    assert "ask finance" in error.detail
    assert plan.versions.get().body == body()


def test_the_same_figure_written_otherwise_is_no_change(plan: Plan) -> None:
    assert save(plan, Role.PRODUCT_MANAGER, body("20.0")).body == body("20.0")


def test_a_new_recipe_of_a_product_manager_has_no_markup(plan: Plan) -> None:
    second = {**charge_of(), "key": "second"}
    said = body()
    said["charges"].append(second)
    save(plan, Role.PRODUCT_MANAGER, said)
    marked = copy.deepcopy(said)
    recipe(marked)["markup_percent"] = "5"
    with pytest.raises(AforoError, match=r"It is 0 % and you entered 5 %"):
        save(plan, Role.PRODUCT_MANAGER, marked)
    assert recipe(save(plan, Role.FINANCE, marked).body)["markup_percent"] == "5"


def test_another_key_takes_its_markup_along(plan: Plan) -> None:
    said = body()
    said["charges"][1]["key"] = "renamed"
    save(plan, Role.PRODUCT_MANAGER, said)
    stripped = copy.deepcopy(said)
    del recipe(stripped)["markup_percent"]
    stripped["charges"][1]["key"] = "again"
    with pytest.raises(AforoError, match="Finance sets the markup"):
        save(plan, Role.PRODUCT_MANAGER, stripped)


def test_a_published_recipe_that_was_dropped_comes_back_with_its_markup(
    plan: Plan,
) -> None:
    plans.publish(version=plan.versions.get(), actor=None)
    without = body()
    del without["charges"][1]
    save(plan, Role.PRODUCT_MANAGER, without)
    with pytest.raises(AforoError, match="Finance sets the markup"):
        save(plan, Role.PRODUCT_MANAGER, body(None))
    assert save(plan, Role.PRODUCT_MANAGER, body()).body == body()


@pytest.mark.parametrize("markup", ["25", None])
def test_finance_changes_the_markup(plan: Plan, markup: str | None) -> None:
    assert save(plan, Role.FINANCE, body(markup)).body == body(markup)
    entry = AuditEntry.objects.filter(action="plan.draft_saved").latest("created_at")
    assert entry.actor is not None


@pytest.mark.parametrize(("change", "path"), CHANGES)
def test_everything_else_is_refused_to_finance(
    plan: Plan, change: Change, path: str
) -> None:
    said = body("25")
    change(said)
    with pytest.raises(AforoError) as caught:
        save(plan, Role.FINANCE, said)
    error = caught.value
    assert (error.code, error.status) == ("product_manager_only", 403)
    assert error.field == path
    assert "Product managers set everything but the markup." in error.detail
    assert plan.versions.get().body == body()


@pytest.mark.parametrize(
    ("more", "path"),
    [({"limits": {}}, "limits.spend_cap"), ({"prorate": True}, "prorate")],
)
def test_limits_and_proration_are_refused_to_finance_too(
    plan: Plan, more: dict[str, Any], path: str
) -> None:
    with pytest.raises(AforoError) as caught:
        save(plan, Role.FINANCE, body("25"), **more)
    assert caught.value.field == path


def test_finance_begins_no_plan_and_marks_a_published_one(
    shop: Shop, plan: Plan
) -> None:
    empty = plans.create_plan(product=shop.product, name="New", code="new", actor=None)
    with pytest.raises(AforoError) as caught:
        save(empty, Role.FINANCE, body())
    assert caught.value.field == "charges"
    sold = plans.publish(version=plan.versions.get(), actor=None)
    marked = copy.deepcopy(sold.body)
    recipe(marked)["markup_percent"] = "30"
    made = save(plan, Role.FINANCE, marked, limits=sold.limits)
    assert (made.number, recipe(made.body)["markup_percent"]) == (2, "30")


def test_a_draft_of_an_older_version_keeps_the_markup_of_the_newest(
    plan: Plan,
) -> None:
    first = plans.publish(version=plan.versions.get(), actor=None)
    plans.save_draft(plan=plan, body=body("30"), limits={}, actor=None)
    plans.publish(version=plan.versions.get(state="draft"), actor=None)
    ana = member(plan, Role.PRODUCT_MANAGER)
    with pytest.raises(AforoError, match="It is 30 % and you entered 20 %"):
        publication.start_draft(version=first, actor=ana)
    olga = member(plan, Role.OWNER)
    assert publication.start_draft(version=first, actor=olga).body == first.body


@pytest.mark.parametrize("who", [Role.OWNER, None])
def test_an_owner_and_whoever_acts_for_nobody_change_both(
    plan: Plan, who: Role | None
) -> None:
    said = body("7")
    _rate(said)
    person = member(plan, who) if who else None
    assert plans.save_draft(plan=plan, body=said, limits={}, actor=person).body == said


def caller(shop: Shop, person: User | None) -> Caller:
    """Return a system with a key that a person made."""
    scopes = ("catalog:read", "catalog:write")
    _, secret = service_keys.issue(
        tenant=shop.tenant, name="deploy", scopes=scopes, actor=person
    )
    return Caller(shop, secret)


def put(api: Caller, said: dict[str, Any]) -> Any:
    """Send a draft with a key."""
    return api.ask("PUT", "plans/credits/draft", {**said, "limits": {"spend_cap": "9"}})


def test_a_service_key_may_do_what_the_person_who_made_it_may(
    shop: Shop, plan: Plan
) -> None:
    rated = body()
    _rate(rated)
    manager = caller(shop, member(plan, Role.PRODUCT_MANAGER))
    assert put(manager, body("25")).refusal == (
        403,
        "finance_only",
        "charges[1].price.markup_percent",
    )
    assert put(manager, rated).status == 200
    finance = caller(shop, member(plan, Role.FINANCE))
    assert put(finance, body("25")).refusal == (
        403,
        "product_manager_only",
        "charges[1].price.price.unit_amount",
    )
    recipe(rated)["markup_percent"] = "25"
    assert put(finance, rated).status == 200
    assert put(caller(shop, member(plan, Role.OWNER)), body("1")).status == 200
    assert put(caller(shop, None), body("2")).status == 200


@pytest.mark.parametrize("key", [[], {}, 5, None])
def test_a_key_that_is_none_is_no_reason_to_fail(plan: Plan, key: object) -> None:
    said = body()
    said["charges"][0]["key"] = key
    assert save(plan, Role.PRODUCT_MANAGER, said).body == said
