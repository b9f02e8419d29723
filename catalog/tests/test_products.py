"""Products and metrics: what can be named, and what cannot."""

from __future__ import annotations

import pytest

from aforo.core.models import AuditEntry
from aforo.lib.errors import AforoError
from catalog import products
from catalog.models import Metric, ProductType
from tests.factories import make_tenant, make_user

pytestmark = pytest.mark.django_db


def make_product(tenant, code="search", **more):
    """Add a product."""
    return products.create_product(
        tenant=tenant,
        name="Search",
        code=code,
        type=ProductType.MCP_SERVER,
        actor=more.pop("actor", None),
        **more,
    )


def make_metric(tenant, **more):
    """Define a metric."""
    fields = {
        "code": "tokens",
        "name": "Tokens",
        "aggregation": Metric.Aggregation.SUM,
        "field": "tokens",
        "unit": "token",
    } | more
    return products.create_metric(tenant=tenant, actor=None, **fields)


def test_a_product_is_made_with_an_audit_row():
    tenant, owner = make_tenant(), make_user()
    product = make_product(tenant, features=["search"], actor=owner)
    assert not product.uses_bearer
    entry = AuditEntry.objects.get(action="product.created")
    assert (entry.actor, entry.changes["code"]) == (owner, [None, "search"])


@pytest.mark.parametrize("code", ["", "with space", "ümlaut", "x" * 61, "a/b", "a\n"])
def test_a_code_that_events_could_not_carry_is_refused(code):
    with pytest.raises(AforoError, match="invalid_code"):
        make_product(make_tenant(), code)


def test_a_code_is_taken_once_per_tenant():
    tenant = make_tenant()
    make_product(tenant)
    make_product(make_tenant())
    with pytest.raises(AforoError, match="already_exists"):
        make_product(tenant)


@pytest.mark.parametrize("code", ["", "Tokens", "1st", "a b", "a.b"])
def test_a_metric_code_that_plans_could_not_name_is_refused(code):
    with pytest.raises(AforoError, match="invalid_code"):
        make_metric(make_tenant(), code=code)


def test_a_sum_needs_a_field_and_a_count_does_not():
    tenant = make_tenant()
    with pytest.raises(AforoError, match="field_required"):
        make_metric(tenant, field="")
    made = make_metric(
        tenant, code="calls", aggregation=Metric.Aggregation.COUNT, field=""
    )
    assert made.field == ""


def test_a_metric_is_taken_once():
    tenant = make_tenant()
    make_metric(tenant)
    with pytest.raises(AforoError, match="already_exists"):
        make_metric(tenant)
