"""Starting templates: each makes a plan that can be published and priced."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aforo.core.models import AuditEntry
from aforo.lib.errors import AforoError
from catalog import plans, pricing, products, starters
from catalog.models import Metric, Plan, ProductType
from catalog.pricing.supposed import Supposed, suppose
from tests.factories import make_tenant, make_user

pytestmark = pytest.mark.django_db
CODES = tuple(starters.starters())
# What a month of usage costs: quantity by charge, and the total.
MONTHS = {
    "llm_api": (
        {
            "input": 2_000_000,  # $6.00
            "input-batch": 2_000_000,  # $3.00
            "cache-write": 1_000_000,  # $3.75
            "cache-read": 10_000_000,  # $3.00
            "output": 1_000_000,  # $15.00
            "output-small-batch": 1_000_000,  # $2.00
        },
        "32.75",
    ),
    "platform_fee": (
        {"input": 60_000_000, "output": 3_000_000, "priority": 100},
        "367.50",
    ),
    "per_unit": ({"calls": 14_000}, "140"),
    "graduated": ({"calls": 14_000}, "201"),
    "volume": ({"input": 60_000_000}, "120"),
    "package": ({"credits": 1_001}, "20"),
    "cost_plus": ({"usage": 200}, "260"),
    "agent_run": ({"runs": 12}, "6"),
    # A charge by dimensions: its key, then what of it.
    "tool_rates": ({"tools tool:transform_data": 2_000}, "450"),
    "session_included": (
        {
            "sessions tool:*": 130,
            "sessions sessions": 1,
            "sessions token:output_tokens": 50_000,
        },
        "6.60",
    ),
    "tool_multipliers": ({"tokens token:output_tokens:schema_analysis": 50_000}, "0.2"),
    "committed_minimum": ({"calls tool:*": 1_050_000}, "10500"),
    "contract_reviewed": ({"reviewed": 1_200}, "1020"),
    "resolution": ({"resolved": 100}, "99"),
    # One event with 2,000 calls and 2,400,000 input tokens: 12,400 credits.
    "credits": (
        {"credits recipe:tool_calls": 2_000, "credits recipe:input_tokens": 2_400_000},
        "123",
    ),
}


@pytest.fixture
def product():
    """Something to sell, of a tenant without metrics."""
    return products.create_product(
        tenant=make_tenant(),
        name="API",
        code="api",
        type=ProductType.AGENTIC_API,
        actor=None,
    )


def start(product, template, **more):
    """Start a plan from a template."""
    given = {"name": "Pro", "code": "pro", "currency": "USD", "actor": None, **more}
    starter = starters.starters()[template] if template else None
    return starters.start_plan(product=product, starter=starter, **given)


def test_every_template_has_its_month_here():
    assert set(MONTHS) == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_every_template_is_published_and_priced(product, code):
    plan = start(product, code)
    version = plans.publish(version=plan.versions.get(), actor=None)
    (priced,) = plans.load_plans({version.pk}).values()
    assert pricing.lint(priced.plan) == ()
    quantities, expected = MONTHS[code]
    usage = []
    for name, quantity in quantities.items():
        key, _, part = name.partition(" ")
        charge = priced.plan.charge(key)
        assert charge.metric is not None
        usage.append(
            Supposed(charge.metric, charge.filter, Decimal(quantity), label=part)
        )
    assert len(usage) == len(quantities)
    lines = pricing.total(priced.plan, suppose(priced.plan, usage))
    assert sum(line.amount for line in lines) == Decimal(expected)


def test_the_first_draft_of_an_empty_plan_has_no_charge(product):
    draft = start(product, "", currency="EUR").versions.get()
    assert draft.body == {"currency": "EUR", "charges": []}
    assert not Metric.objects.exists()


def test_metrics_that_are_there_are_used(product):
    tenant = product.tenant
    first, second = starters.starters()["graduated"], starters.starters()["per_unit"]
    assert [m.code for m in starters.missing_metrics(tenant, first)] == ["tool_calls"]
    owner = make_user()
    start(product, "graduated", actor=owner)
    assert starters.missing_metrics(tenant, second) == []
    start(product, "per_unit", code="pro-2")
    assert Metric.objects.count() == 1
    assert AuditEntry.objects.get(action="metric.created").actor == owner


def make_metric(product, code, **more):
    """Define a metric of the product's tenant."""
    products.create_metric(
        tenant=product.tenant, code=code, name=code, unit="call", actor=None, **more
    )


def test_a_metric_that_counts_the_same_under_another_code_is_used(product):
    make_metric(product, "calls", aggregation="sum", field="tool_calls")
    plan = start(product, "per_unit")
    assert plan.versions.get().body["charges"][0]["metric"] == "calls"
    assert Metric.objects.count() == 1


def test_a_code_that_counts_something_else_is_left_alone(product):
    make_metric(product, "tool_calls", aggregation="count")
    make_metric(product, "tool_calls_2", aggregation="max", field="tool_calls")
    starter = starters.starters()["per_unit"]
    (missing,) = starters.missing_metrics(product.tenant, starter)
    assert missing.code == "tool_calls_3"
    plan = start(product, "per_unit")
    assert plan.versions.get().body["charges"][0]["metric"] == "tool_calls_3"
    plans.publish(version=plan.versions.get(), actor=None)


@pytest.mark.parametrize(
    ("given", "field"),
    [({"code": "no good"}, "code"), ({"currency": "XXX"}, "currency")],
)
def test_wrong_input_leaves_nothing_behind(product, given, field):
    with pytest.raises(AforoError) as found:
        start(product, "per_unit", **given)
    assert found.value.field == field
    assert not Plan.objects.exists()
    assert not Metric.objects.exists()
