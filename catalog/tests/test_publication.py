"""Publication: what was reviewed and nothing else, once, and copies of it."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from aforo.lib import clock
from aforo.lib.errors import AforoError
from catalog import plans, products, publication
from catalog.models import PlanVersion, ProductType
from tests.factories import TOKENS_PLAN, make_metrics, make_tenant, make_user

pytestmark = pytest.mark.django_db


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


def publish(version, reviewed=None, actor=None):
    """Publish a version as it is, or as it was reviewed."""
    seen = reviewed or publication.fingerprint(version)
    return publication.publish_reviewed(version=version, actor=actor, reviewed=seen)


def test_who_comes_second_hears_who_published(plan):
    version = draft(plan)
    seen = publication.fingerprint(version)
    with clock.travel(dt.datetime(2026, 3, 12, 10, 41, tzinfo=dt.UTC)):
        publish(version, actor=make_user(name="Ana"))
    with pytest.raises(AforoError) as refusal:
        publish(version, seen)
    assert (refusal.value.code, refusal.value.status) == ("not_a_draft", 409)
    assert refusal.value.detail == (
        "Pro v1 was published by Ana on 12 Mar 2026, 10:41 UTC. It never changes."
    )


@pytest.mark.django_db(transaction=True)
def test_of_two_at_the_same_time_one_wins_and_one_hears_it(plan):
    version = draft(plan)
    seen = publication.fingerprint(version)
    both_ready = threading.Barrier(2)

    def race(number):
        try:
            both_ready.wait()
            publish(version, seen)
        except AforoError as error:
            return error.code
        finally:
            connection.close()
        return "published"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(race, range(2))) == ["not_a_draft", "published"]


def test_only_what_was_reviewed_is_published(plan):
    seen = publication.fingerprint(draft(plan))
    version = draft(plan, prorate=True)
    with pytest.raises(AforoError, match="draft_changed"):
        publish(version, seen)
    version.refresh_from_db()
    assert version.state == PlanVersion.State.DRAFT
    assert publish(version).prorate


def test_a_draft_is_checked_as_publishing_does(plan):
    said = publication.terms(draft(plan, limits={"spend_cap": "5"}))
    assert (len(said.plan.charges), said.limits) == (3, {"spend_cap": "5"})
    for body, limits, field in (
        ({"currency": "USD", "charges": [{}]}, {}, "charges[0]"),
        (TOKENS_PLAN, {"spend_cap": 5}, "limits.spend_cap"),
    ):
        with pytest.raises(AforoError) as refusal:
            publication.check(body, limits, tenant_id=plan.tenant_id)
        assert (refusal.value.status, refusal.value.field) == (422, field)


def test_a_published_version_starts_the_next_draft(plan):
    first = publish(draft(plan, limits={"spend_cap": "5"}, prorate=True))
    second = publication.start_draft(version=first, actor=None)
    assert (second.number, second.state) == (2, "draft")
    assert publication.fingerprint(second) == publication.fingerprint(first)
    with pytest.raises(AforoError, match="draft_exists"):
        publication.start_draft(version=first, actor=None)
    with pytest.raises(AforoError, match="not_published"):
        publication.start_draft(version=second, actor=None)


def test_a_retired_version_can_be_started_from(plan):
    version = publish(draft(plan))
    plans.retire(version=version, actor=None)
    version.refresh_from_db()
    assert publication.published_words(version).startswith("Pro v1 was published on")
    assert publication.start_draft(version=version, actor=None).number == 2
