"""Plans: drafts change freely, published versions never, bodies are complete."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from aforo.core.models import AuditEntry
from aforo.lib.errors import AforoError
from catalog import plans, pricing, products
from catalog.models import Metric, PlanVersion, ProductType
from tests.factories import TOKENS_PLAN, make_metrics, make_tenant, make_user

pytestmark = pytest.mark.django_db
FLAT = {"model": "flat", "amount": "9", "due": "advance"}
FEE = {"key": "fee", "name": "Fee", "price": FLAT}


@pytest.fixture
def plan():
    """A plan without a version, of a tenant with metrics."""
    tenant = make_tenant()
    make_metrics(tenant)
    product = products.create_product(
        tenant=tenant, name="API", code="api", type=ProductType.STANDARD_API, actor=None
    )
    return plans.create_plan(product=product, name="Pro", code="pro", actor=None)


def draft(plan, body=None, limits=None, **more):
    """Save a draft."""
    return plans.save_draft(
        plan=plan, body=body or TOKENS_PLAN, limits=limits or {}, actor=None, **more
    )


def with_metric(metric):
    """Return a plan with one charge on a metric."""
    price = {"model": "per_unit", "unit_amount": "1"}
    charge = {"key": "c", "name": "C", "metric": metric, "price": price}
    return {"currency": "USD", "charges": [charge]}


def test_a_plan_has_one_draft_that_is_saved_over(plan):
    first = draft(plan)
    second = draft(plan, {"currency": "EUR", "charges": []}, prorate=True)
    assert first.pk == second.pk
    stored = PlanVersion.objects.get()
    assert (stored.currency, stored.number, stored.prorate) == ("EUR", 1, True)


def test_publishing_writes_the_metrics_out(plan):
    version = plans.publish(version=draft(plan), actor=None)
    assert version.body["charges"][0]["metric"] == {
        "key": "input_tokens",
        "aggregation": "sum",
        "measurement": "input_tokens",
    }
    assert pricing.plan_to_json(pricing.parse_plan(version.body)) == version.body


def test_publishing_says_who_and_what(plan):
    owner = make_user()
    version = plans.publish(version=draft(plan), actor=owner)
    assert (version.state, version.published_by) == ("published", owner)
    entry = AuditEntry.objects.get(action="plan.published")
    assert entry.changes["state"] == ["draft", "published"]


def test_the_next_draft_is_the_next_version(plan):
    plans.publish(version=draft(plan), actor=None)
    assert draft(plan).number == 2


def test_a_published_version_never_changes(plan):
    version = plans.publish(version=draft(plan), actor=None)
    for field, value in (
        ("body", {}),
        ("limits", {"a": 1}),
        ("prorate", True),
        ("currency", "EUR"),
        ("state", "draft"),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            PlanVersion.objects.filter(pk=version.pk).update(**{field: value})
    with pytest.raises(IntegrityError), transaction.atomic():
        version.delete()


def test_a_version_is_published_once_and_retired_once(plan):
    version = plans.publish(version=draft(plan), actor=None)
    with pytest.raises(AforoError, match="not_a_draft"):
        plans.publish(version=version, actor=None)
    plans.retire(version=version, actor=None)
    with pytest.raises(AforoError, match="not_published"):
        plans.retire(version=version, actor=None)


@pytest.mark.parametrize(
    ("_case", "body", "code", "field"),
    [
        ("metric", with_metric("nothing"), "unknown_metric", "charges[0].metric"),
        (
            "metric inside",
            with_metric({"key": "nothing", "aggregation": "count"}),
            "unknown_metric",
            "charges[0].metric",
        ),
        (
            "float",
            {
                "currency": "USD",
                "charges": [{**FEE, "price": {**FLAT, "amount": 9.5}}],
            },
            "float",
            "charges[0].price.amount",
        ),
        (
            "duplicate key",
            {"currency": "USD", "charges": [FEE, FEE]},
            "duplicate_charge",
            "charges[1].key",
        ),
        ("no charges", {"currency": "USD"}, "missing_key", ""),
    ],
)
def test_a_body_that_cannot_be_billed_is_not_published(plan, _case, body, code, field):
    version = draft(plan, body)
    with pytest.raises(AforoError) as refusal:
        plans.publish(version=version, actor=None)
    assert (refusal.value.code, refusal.value.status) == (code, 422)
    assert refusal.value.field == field
    version.refresh_from_db()
    assert version.state == PlanVersion.State.DRAFT


def test_a_draft_has_a_currency(plan):
    with pytest.raises(AforoError, match="unknown_currency"):
        draft(plan, {"currency": "GOLD", "charges": []})


@pytest.mark.parametrize(
    ("_case", "limits", "field"),
    [
        ("unknown", {"rpm": 1}, "limits.rpm"),
        ("negative", {"requests_per_minute": -1}, "limits.requests_per_minute"),
        ("huge", {"tokens_per_minute": 2**53 + 1}, "limits.tokens_per_minute"),
        ("text", {"requests_per_minute": "60"}, "limits.requests_per_minute"),
        ("truth", {"requests_per_minute": True}, "limits.requests_per_minute"),
        ("float", {"requests_per_minute": 1.5}, "limits.requests_per_minute"),
        ("money as number", {"spend_cap": 25}, "limits.spend_cap"),
        ("money too large", {"spend_cap": "9000000001"}, "limits.spend_cap"),
        ("money in words", {"default_estimate": "1e3"}, "limits.default_estimate"),
        ("estimate", {"estimate": {"tokens": "-1"}}, "limits.estimate.tokens"),
        ("outage", {"on_outage": "maybe"}, "limits.on_outage"),
        ("flag", {"wallet_required": 1}, "limits.wallet_required"),
        ("quota", {"quotas": [{"metric": "tokens"}]}, "limits.quotas[0]"),
        (
            "quota without limit",
            {"quotas": [{"metric": "tokens", "limit": None, "on_exceed": "deny"}]},
            "limits.quotas[0].limit",
        ),
        (
            "quota of nothing",
            {"quotas": [{"metric": "nothing", "limit": 1, "on_exceed": "deny"}]},
            "limits.quotas[0].metric",
        ),
    ],
)
def test_limits_that_the_edge_could_not_keep_are_refused(plan, _case, limits, field):
    version = draft(plan, limits=limits)
    with pytest.raises(AforoError) as refusal:
        plans.publish(version=version, actor=None)
    assert refusal.value.field == field


def test_limits_may_be_zero_or_none_and_name_every_policy(plan):
    limits = {
        "requests_per_minute": 0,
        "tokens_per_minute": None,
        "quotas": [
            {"metric": "tokens", "limit": 10, "on_exceed": "deny"},
            {"metric": "input_tokens", "limit": 2**53, "on_exceed": "bill"},
        ],
        "spend_cap": None,
        "estimate": {"input_tokens": "0.000003"},
        "default_estimate": "0.01",
        "on_outage": "closed",
        "wallet_required": True,
    }
    version = plans.publish(version=draft(plan, limits=limits), actor=None)
    assert version.limits == limits


def test_published_versions_are_loaded_once(plan, django_assert_num_queries):
    version = plans.publish(version=draft(plan, prorate=True), actor=None)
    with django_assert_num_queries(1):
        loaded = plans.load_plans({version.pk})[version.pk]
    with django_assert_num_queries(0):
        assert plans.load_plans([version.pk]) == {version.pk: loaded}
    assert (loaded.currency, loaded.number, loaded.prorate) == ("USD", 1, True)
    assert loaded.product_id == plan.product_id


def test_a_draft_is_not_loaded(plan):
    version = draft(plan)
    with pytest.raises(PlanVersion.DoesNotExist):
        plans.load_plans({version.pk})


@pytest.mark.parametrize(
    ("_case", "fields", "expected"),
    [
        ("count", {"aggregation": "count", "field": ""}, {}),
        ("sum", {"aggregation": "sum", "field": "x"}, {"measurement": "x"}),
        ("distinct", {"aggregation": "unique", "field": "x"}, {"property": "x"}),
        ("our cost", {"aggregation": "sum", "field": "cogs"}, {"cogs": True}),
        (
            "some events",
            {"aggregation": "count", "event_types": ["b", "a"]},
            {"event_types": ["a", "b"]},
        ),
    ],
)
def test_metrics_are_written_as_plan_json(_case, fields, expected):
    metric = Metric(code="m", **fields)
    head = {"key": "m", "aggregation": fields["aggregation"]}
    assert plans.metric_json(metric) == head | expected


def test_a_version_is_described_in_plain_words(plan):
    version = plans.publish(version=draft(plan), actor=None)
    assert plans.describe_version(version) == (
        "Input tokens: $3.00 per 1M tokens."
        " Output tokens: $15.00 per 1M tokens up to 1,000,000, then $12.00 above."
        " Tool calls: $0.01 per call."
    )


def test_a_draft_counts_its_savings(plan):
    owner = make_user()
    first = plans.save_draft(
        plan=plan, body=TOKENS_PLAN, limits={}, actor=owner, expected_revision=0
    )
    assert (first.revision, first.saved_by) == (1, owner)
    assert draft(plan, limits={"spend_cap": "5"}, expected_revision=1).revision == 2


def test_saving_the_same_again_changes_nothing(plan):
    first = draft(plan)
    again = draft(plan)
    assert (again.revision, again.saved_at) == (first.revision, first.saved_at)
    assert AuditEntry.objects.filter(action="plan.draft_saved").count() == 1


def test_the_second_of_two_writers_is_told_who_was_first(plan):
    ana = make_user(name="Ana")
    draft(plan)
    plans.save_draft(
        plan=plan,
        body=with_metric("input_tokens"),
        limits={},
        actor=ana,
        expected_revision=1,
    )
    with pytest.raises(AforoError, match="was saved by Ana at") as refused:
        draft(plan, with_metric("tool_calls"), expected_revision=1)
    assert (refused.value.code, refused.value.status) == ("draft_changed", 409)
    assert refused.value.extra == {"revision": 2}
    stored = PlanVersion.objects.get()
    assert stored.body["charges"][0]["metric"] == "input_tokens"
    assert draft(plan, with_metric("tool_calls"), expected_revision=2).revision == 3


def test_a_draft_published_by_somebody_else_is_not_reopened_unseen(plan):
    plans.publish(version=draft(plan), actor=make_user(name="Ana"))
    with pytest.raises(AforoError, match="was published by Ana at"):
        draft(plan, with_metric("tool_calls"), expected_revision=1)
    assert draft(plan, with_metric("tool_calls"), expected_revision=2).number == 2


def test_the_revision_of_no_version_is_refused_as_any_other(plan):
    with pytest.raises(AforoError, match="was removed"):
        draft(plan, expected_revision=1)
    draft(plan)
    with pytest.raises(AforoError, match="was saved"):
        draft(plan, with_metric("tool_calls"), expected_revision=0)
