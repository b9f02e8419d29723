"""Publishing: reviewed, typed again, for those it is meant for, and only once."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role
from aforo.lib.money import display
from billing import accounts, subscriptions
from billing.models import Invoice, Subscription, SubscriptionSnapshot
from catalog import plans, publication
from catalog.models import PlanVersion
from portal.tests.scene import PLAN, Scene, sign_in
from portal.tests.test_plans import draft, path, text

pytestmark = pytest.mark.django_db


def form(scene: Scene, **more: object) -> dict[str, object]:
    """Return the review's form as somebody fills it in."""
    version = PlanVersion.objects.get(plan=scene.version.plan, state="draft")
    return {
        "number": version.number,
        "reviewed": publication.fingerprint(version),
        "who": "new",
        "name": scene.version.plan.name,
        **more,
    }


def post(client: Client, scene: Scene, **more: object) -> Any:
    """Publish the draft."""
    return client.post(path(scene, "/publish"), form(scene, **more), follow=True)


def second_customer(scene: Scene) -> Subscription:
    """Subscribe somebody else to the plan."""
    customer = accounts.create_customer(
        tenant=scene.tenant, name="Second", external_id="second", actor=None
    )
    return subscriptions.subscribe(
        customer=customer,
        product=scene.product,
        plan_version=scene.version,
        start_at=scene.subscription.started_at,
        actor=None,
    )


def test_the_review_shows_difference_subscriptions_and_where_the_impact_is(
    scene: Scene,
) -> None:
    draft(scene)
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    page = text(client, path(scene, "/publish"))
    assert "v1 → v2 (draft)" in page
    assert "$0.01 per call $0.02 per call" in page
    assert "All 1 subscription, at renewal" in page
    assert scene.customer.name in page
    assert (
        f'hx-get="{path(scene, "/impact")}"'
        in client.get(path(scene, "/publish")).content.decode()
    )


def test_new_subscriptions_only(scene: Scene) -> None:
    draft(scene)
    done = post(sign_in(scene, Role.PRODUCT_MANAGER), scene)
    assert "v2 is live." in done.content.decode()
    version = PlanVersion.objects.get(plan=scene.version.plan, number=2)
    assert version.state == "published"
    assert version.published_by == scene.people[Role.PRODUCT_MANAGER]
    assert AuditEntry.objects.filter(action="plan.published").count() == 2
    assert not SubscriptionSnapshot.objects.filter(plan_version=version).exists()


def test_all_subscriptions_at_renewal(scene: Scene) -> None:
    draft(scene)
    second_customer(scene)
    done = post(sign_in(scene, Role.OWNER), scene, who="all")
    assert "2 subscriptions get it at renewal" in done.content.decode()
    made = SubscriptionSnapshot.objects.filter(plan_version__number=2)
    assert {s.effective_from.isoformat() for s in made} == {"2026-12-01T00:00:00+00:00"}


def test_chosen_subscriptions_at_renewal(scene: Scene) -> None:
    draft(scene)
    other = second_customer(scene)
    client = sign_in(scene, Role.OWNER)
    done = post(client, scene, who="chosen", subscriptions=[other.public_id])
    assert "1 subscription gets it at renewal" in done.content.decode()
    made = SubscriptionSnapshot.objects.get(plan_version__number=2)
    assert made.subscription == other


def test_those_that_cannot_be_moved_are_named(scene: Scene) -> None:
    draft(scene)
    period = scene.customer.periods.order_by("-start_at")[0]
    subscriptions.cancel(subscription=scene.subscription, at=period.end_at, actor=None)
    done = post(sign_in(scene, Role.OWNER), scene, who="all").content.decode()
    assert "v2 is live." in done
    assert f"{scene.customer}: The subscription has ended." in done


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "Wrong"}, "“Wrong” is not the plan&#x27;s name"),
        ({"name": ""}, "This field is required"),
        ({"who": "everybody"}, "everybody is not one of the available choices"),
        ({"who": ""}, "This field is required"),
        ({"who": "chosen"}, "Nobody is chosen"),
        (
            {"who": "chosen", "subscriptions": ["sub_nothing"]},
            "sub_nothing is no subscription of this plan by now",
        ),
        ({"reviewed": "else"}, "was changed while you reviewed it"),
        ({"reviewed": ""}, "was changed while you reviewed it"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_published(
    scene: Scene, given: dict[str, object], words: str
) -> None:
    draft(scene)
    answer = post(sign_in(scene, Role.OWNER), scene, **given)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert PlanVersion.objects.get(plan=scene.version.plan, number=2).state == "draft"


def test_what_was_ticked_is_kept(scene: Scene) -> None:
    draft(scene)
    answer = post(
        sign_in(scene, Role.OWNER),
        scene,
        who="chosen",
        subscriptions=[scene.subscription.public_id],
        name="Wrong",
    )
    page = answer.content.decode()
    assert re.search(rf'value="{scene.subscription.public_id}" checked', page)
    assert re.search(r'value="chosen" checked', page)
    assert 'value="Wrong"' in page


def test_a_draft_changed_meanwhile_can_be_reviewed_again_and_published(
    scene: Scene,
) -> None:
    draft(scene)
    client = sign_in(scene, Role.OWNER)
    seen = form(scene)
    draft(scene, "0.05")
    page = client.post(path(scene, "/publish"), seen).content.decode()
    assert "$0.05 per call" in page
    (reviewed,) = re.findall(r'name="reviewed" value="([0-9a-f]+)"', page)
    done = client.post(
        path(scene, "/publish"), {**seen, "reviewed": reviewed}, follow=True
    )
    assert "v2 is live." in done.content.decode()


def test_who_publishes_second_hears_who_was_first(scene: Scene) -> None:
    draft(scene)
    seen = form(scene)
    post(sign_in(scene, Role.PRODUCT_MANAGER), scene)
    late = sign_in(scene, Role.OWNER).post(path(scene, "/publish"), seen, follow=True)
    page = late.content.decode()
    assert "was published by Product manager on 18 Nov 2026, 12:00 UTC" in page
    assert "Your click changed nothing" in page
    plans.save_draft(plan=scene.version.plan, body=PLAN, limits={}, actor=None)
    again = sign_in(scene, Role.OWNER).post(path(scene, "/publish"), seen, follow=True)
    assert "Your click changed nothing" in again.content.decode()
    assert PlanVersion.objects.get(plan=scene.version.plan, number=3).state == "draft"


def test_without_a_draft_there_is_nothing_to_publish(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    for answer in (
        client.get(path(scene, "/publish"), follow=True),
        client.post(path(scene, "/publish"), {"number": "²"}, follow=True),
    ):
        page = answer.content.decode()
        assert "has no draft to publish" in page
        assert "was published" in page


def test_an_incomplete_draft_is_not_published(scene: Scene) -> None:
    plans.save_draft(
        plan=scene.version.plan,
        body={"currency": "USD", "charges": [{"key": "a"}]},
        limits={},
        actor=None,
    )
    client = sign_in(scene, Role.OWNER)
    page = client.get(path(scene, "/publish")).content.decode()
    assert "This draft cannot be published yet" in page
    assert "Publish version" not in page
    answer = post(client, scene)
    assert answer.status_code == 422
    assert "charges[0]" in answer.content.decode()


def test_the_linters_doubts_are_shown(scene: Scene) -> None:
    charge = {**PLAN["charges"][1], "key": "twin", "name": "Twin"}
    plans.save_draft(
        plan=scene.version.plan,
        body={**PLAN, "charges": [*PLAN["charges"], charge]},
        limits={},
        actor=None,
    )
    page = text(sign_in(scene, Role.OWNER), path(scene, "/publish"))
    assert "can match both Input tokens and Twin equally well" in page


def test_the_first_version_has_nothing_to_compare_with(scene: Scene) -> None:
    bare = plans.create_plan(product=scene.product, name="Bare", code="b", actor=None)
    plans.save_draft(plan=bare, body=PLAN, limits={}, actor=None)
    client = sign_in(scene, Role.OWNER)
    page = text(client, f"/plans/{bare.public_id}/publish")
    assert "This is the plan's first version" in page
    assert "All 0" not in page
    assert "Nobody is on the plan" in text(client, f"/plans/{bare.public_id}/impact")


def test_the_impact_is_last_months_invoice_and_what_it_would_have_been(
    scene: Scene,
) -> None:
    draft(scene)
    invoice = Invoice.objects.get(pk=scene.invoice.pk)
    page = text(sign_in(scene, Role.FINANCE), path(scene, "/impact"))
    new = invoice.subtotal + Decimal("0.06")  # Six tool calls, a cent more each.
    assert display(invoice.subtotal, "USD") in page
    assert display(new, "USD") in page
    assert "1 pay more, 0 less" in page
    assert "1–31 Oct 2026 UTC" in page


def test_the_impact_comes_as_a_fragment_and_as_csv(scene: Scene) -> None:
    draft(scene)
    client = sign_in(scene, Role.VIEWER)
    fragment = client.get(path(scene, "/impact"), headers={"hx-request": "true"})
    assert "<html" not in fragment.content.decode()
    assert scene.customer.name in fragment.content.decode()
    file = client.get(path(scene, "/impact.csv"))
    assert file["Content-Type"].startswith("text/csv")
    _, row = file.content.decode().strip().splitlines()
    assert ",0.06," in row
    assert scene.customer.public_id in row


def test_the_impact_without_a_draft_and_of_a_broken_one(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    assert "nothing would change" in text(client, path(scene, "/impact"))
    assert client.get(path(scene, "/impact.csv")).status_code == 200
    plans.save_draft(
        plan=scene.version.plan,
        body={"currency": "USD", "charges": [{}]},
        limits={},
        actor=None,
    )
    assert "cannot be priced yet" in text(client, path(scene, "/impact"))


def test_another_currency_is_left_out(scene: Scene) -> None:
    plans.save_draft(
        plan=scene.version.plan,
        body={**PLAN, "currency": "EUR"},
        limits={},
        actor=None,
    )
    page = text(sign_in(scene, Role.VIEWER), path(scene, "/impact"))
    assert "1 subscription left out: billed in another currency" in page
