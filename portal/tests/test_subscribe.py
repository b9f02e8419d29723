"""A customer gets a plan, and another one: asked, reviewed, confirmed, audited."""

from __future__ import annotations

import copy
import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock
from billing import accounts, subscriptions
from billing.models import (
    BillingPeriod,
    Customer,
    CustomerBooks,
    LedgerEntry,
    Subscription,
)
from billing.models import SubscriptionSnapshot as Snapshot
from catalog import plans
from catalog.models import PlanVersion
from portal.tests.scene import NOW, PLAN, Scene, make_scene, sign_in
from portal.tests.test_admin_contracts import CHARGES, COMMITTED
from portal.tests.test_plans import text
from tests.factories import make_version

pytestmark = pytest.mark.django_db
NOVEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
GARBAGE = ("", "x", "pln_x", "pln_00000000000000000000000000", "\0", "ü" * 400)
MAY_NOT = [Role.OPERATIONS, Role.VIEWER]


@pytest.fixture
def newcomer(scene: Scene) -> Customer:
    """A customer without a contract."""
    return accounts.create_customer(
        tenant=scene.tenant, name="Newcomer & Sons", actor=None
    )


def ask(customer: Customer, version: PlanVersion | None = None) -> str:
    """Return the address at which a customer is subscribed."""
    path = f"/customers/{customer.public_id}/subscribe"
    return f"{path}?plan={version.plan.public_id}" if version else path


def move(scene: Scene) -> str:
    """Return the address at which the contract gets another plan."""
    return f"/subscriptions/{scene.subscription.public_id}/plan"


def send(client: Client, path: str, **form: Any) -> tuple[HttpResponse, str]:
    """Send a form; return the answer and its page."""
    answer = client.post(path, form)
    assert isinstance(answer, HttpResponse)
    return answer, answer.content.decode()


def digest(page: str) -> str:
    """Return the digest of what a page shows to be reviewed."""
    return re.findall(r'name="reviewed" value="(\w+)"', page)[0]


def confirm(client: Client, path: str, **form: Any) -> HttpResponse:
    """Review, tick and confirm; nothing may stay of the review."""
    before = Snapshot.objects.count(), LedgerEntry.objects.count()
    answer, page = send(client, path, do="review", **form)
    assert answer.status_code == 200, page
    assert (Snapshot.objects.count(), LedgerEntry.objects.count()) == before
    seen = digest(page)
    answer, _ = send(client, path, do="apply", reviewed=seen, sure="yes", **form)
    return answer


def another(scene: Scene, amount: str = "199", *, prorate: bool = False) -> PlanVersion:
    """Return a version of a second plan of the product, without the calls."""
    body = copy.deepcopy(PLAN)
    body["charges"][0]["price"]["amount"] = amount
    del body["charges"][3]
    plan = plans.create_plan(
        product=scene.product, name="Scale", code="scale", actor=None
    )
    draft = plans.save_draft(
        plan=plan, body=body, limits={}, prorate=prorate, actor=None
    )
    return plans.publish(version=draft, actor=None)


def paid(subscription: Subscription) -> list[Decimal]:
    """Return what was posted for a contract beside its usage."""
    rows = LedgerEntry.objects.filter(subscription=subscription, kind="recurring")
    return list(rows.order_by("id").values_list("amount", flat=True))


def test_the_way_there_is_offered_to_those_who_may(
    scene: Scene, newcomer: Customer
) -> None:
    plan = f"/plans/{scene.version.plan.public_id}"
    for role in Role:
        if role == Role.DEVELOPER:
            continue
        client = sign_in(scene, role)
        page = client.get(scene.path).content.decode()
        tab = client.get(f"{plan}?tab=subscriptions").content.decode()
        allowed = role not in MAY_NOT
        assert (ask(scene.customer) in page) is allowed
        assert (move(scene) in page) is allowed
        assert (f"{plan}/subscribe" in tab) is allowed
    fresh = make_version(scene.product, PLAN).plan
    client = sign_in(scene, Role.FINANCE)
    tab = client.get(f"/plans/{fresh.public_id}?tab=subscriptions").content.decode()
    assert f"/plans/{fresh.public_id}/subscribe" in tab


@pytest.mark.parametrize("role", MAY_NOT)
def test_others_may_not(scene: Scene, newcomer: Customer, role: Role) -> None:
    client = sign_in(scene, role)
    chooser = f"/plans/{scene.version.plan.public_id}/subscribe"
    assert client.get(chooser).status_code == 403
    for path in (ask(newcomer, scene.version), move(scene)):
        assert client.get(path).status_code == 403
        assert client.post(path, {"do": "apply"}).status_code == 403
    assert not Subscription.objects.filter(customer=newcomer).exists()


def test_what_is_not_there_is_404(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    for path in (
        "/customers/cus_nobody/subscribe",
        "/subscriptions/sub_none/plan",
        "/plans/pln_none/subscribe",
    ):
        assert client.get(path).status_code == 404


def test_another_sellers_things_are_out_of_reach(scene: Scene) -> None:
    foreign = make_scene()
    client = sign_in(scene, Role.OWNER)
    for path in (ask(foreign.customer), move(foreign)):
        assert client.get(path).status_code == 404
        assert client.post(path).status_code == 404
    plan = f"/plans/{foreign.version.plan.public_id}/subscribe"
    assert client.get(plan).status_code == 404
    assert client.get(ask(scene.customer, foreign.version)).status_code == 422


def test_a_plan_is_chosen_among_the_live_ones(scene: Scene, newcomer: Customer) -> None:
    first = another(scene)
    draft = plans.save_draft(plan=first.plan, body=PLAN, limits={}, actor=None)
    second = plans.publish(version=draft, actor=None)
    client = sign_in(scene, Role.FINANCE)
    page = text(client, ask(newcomer))
    assert str(second) in page
    assert str(first) not in page
    assert "(has a subscription)" not in client.get(ask(newcomer)).content.decode()
    page = client.get(ask(scene.customer)).content.decode()
    assert "(has a subscription)" in page


def test_a_customer_is_chosen_from_the_plan(scene: Scene, newcomer: Customer) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    path = f"/plans/{scene.version.plan.public_id}/subscribe"
    page = client.get(path).content.decode()
    assert ask(newcomer, scene.version) in page
    assert "has a subscription to" in page
    page = client.get(path, {"q": "newcomer"}).content.decode()
    assert ask(scene.customer, scene.version) not in page
    for found in (newcomer.public_id, *GARBAGE):
        assert client.get(path, {"q": found}).status_code == 200
    plans.retire(version=scene.version, actor=None)
    assert "Nobody can subscribe to it now" in text(client, path)


def test_a_customer_is_subscribed_from_now_on(scene: Scene, newcomer: Customer) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    path = ask(newcomer, scene.version)
    form = {"starts": "now", "currency": "USD"}
    assert "Platform fee: $99.00 a month" in text(client, path)
    _, page = send(client, path, do="review", **form)
    assert "What it costs at once" in page
    assert page.count('value="99"') == 3  # The line, the sum, and every period.
    answer = confirm(client, path, **form)
    assert answer.status_code == 302
    assert answer["Location"] == f"/customers/{newcomer.public_id}"
    made = Subscription.objects.get(customer=newcomer)
    assert NOW <= made.started_at <= clock.now()
    assert made.agent is None
    assert paid(made) == [Decimal(99)]
    entry = AuditEntry.objects.get(
        action="subscription.started", object_id=made.public_id
    )
    assert entry.actor == scene.people[Role.PRODUCT_MANAGER]


def test_a_start_in_the_past_charges_those_months(
    scene: Scene, newcomer: Customer
) -> None:
    client = sign_in(scene, Role.FINANCE)
    form = {"starts": "past", "start_at": "2026-10-10T09:00", "currency": "USD"}
    confirm(client, ask(newcomer, scene.version), **form)
    made = Subscription.objects.get(customer=newcomer)
    assert made.started_at == dt.datetime(2026, 10, 10, 9, tzinfo=dt.UTC)
    assert paid(made) == [Decimal(99), Decimal(99)]


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("", "Type when it began"),
        ("2026-11-18T12:01", "still to come"),
        ("0001-01-01T00:00", "Not before"),
        ("2024-01-01T00:00", "Not before"),
        ("yesterday", "valid date"),
        ("9999-12-31T23:59", "still to come"),
    ],
)
def test_other_starts_are_refused_at_their_box(
    scene: Scene, newcomer: Customer, at: str, words: str
) -> None:
    client = sign_in(scene, Role.FINANCE)
    form = {"starts": "past", "start_at": at, "currency": "USD", "do": "review"}
    answer, page = send(client, ask(newcomer, scene.version), **form)
    assert answer.status_code == 422
    assert words in page
    assert 'id="id_start_at_error"' in page


def test_a_start_goes_back_to_the_last_issued_invoice(scene: Scene) -> None:
    subscriptions.cancel(subscription=scene.subscription, at=NOW, actor=None)
    assert BillingPeriod.objects.filter(
        customer=scene.customer, state="finalised", end_at=NOVEMBER
    ).exists()
    client = sign_in(scene, Role.FINANCE)
    path = ask(scene.customer, scene.version)
    form = {"starts": "past", "currency": "USD"}
    answer, page = send(client, path, start_at="2026-10-31T23:59", **form)
    assert answer.status_code == 422
    assert "Not before 1 Nov 2026 00:00" in page
    with clock.travel(NOW + dt.timedelta(minutes=1)):
        answer = confirm(client, path, start_at="2026-11-18T12:00", **form)
    assert answer.status_code == 302


def test_garbage_is_refused(scene: Scene, newcomer: Customer) -> None:
    client = sign_in(scene, Role.OWNER)
    for asked in GARBAGE:
        path = reverse("subscribe", args=[newcomer.public_id])
        assert client.get(path, {"plan": asked}).status_code == 422
    assert client.post(ask(newcomer)).status_code == 422
    path = ask(newcomer, make_version(scene.product, COMMITTED))
    for junk in ("x", "\0", "-1", "1" * 60, "NaN", "é"):
        names = ("starts", "start_at", "currency", "agent", "committed_amount")
        form = {**dict.fromkeys(names, junk), "committed_price": junk, "do": "apply"}
        assert client.post(path, form).status_code == 422
        form = {"version": junk, "when": junk, "do": "apply", "reviewed": junk}
        assert client.post(move(scene), form).status_code == 422


def test_only_currencies_of_the_plan_are_offered(
    scene: Scene, newcomer: Customer
) -> None:
    client = sign_in(scene, Role.FINANCE)
    path = ask(newcomer, make_version(scene.product, COMMITTED))
    page = client.get(path).content.decode()
    assert 'value="EUR"' in page
    assert 'value="CHF"' not in page
    form = {"starts": "now", "currency": "CHF", "do": "review"}
    answer, page = send(client, path, **form)
    assert answer.status_code == 422
    assert 'id="id_currency_error"' in page
    confirm(client, path, starts="now", currency="EUR")
    assert paid(Subscription.objects.get(customer=newcomer)) == [Decimal(9000)]


def test_an_agent_gets_its_part_of_a_commitment(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    path = ask(scene.customer, make_version(scene.product, COMMITTED))
    form = {"starts": "now", "currency": "USD", "agent": scene.agent.pk}
    form |= {"committed_amount": "300", "committed_price": "2700.50"}
    page = client.get(path).content.decode()
    assert "An agent can have one of its own" in page
    half = {**form, "committed_price": "", "do": "review"}
    answer, page = send(client, path, **half)
    assert answer.status_code == 422
    assert 'id="id_committed_price_error"' in page
    confirm(client, path, **form)
    made = Subscription.objects.get(agent=scene.agent)
    assert latest_of(made).commitment == {"amount": 300, "price": "2700.5"}
    assert paid(made) == [Decimal("2700.5")]
    answer, page = send(client, path, do="review", **form)
    assert answer.status_code == 422
    assert 'id="id_agent_error"' in page


def latest_of(subscription: Subscription) -> Snapshot:
    """Return what a contract says last."""
    return subscription.snapshots.order_by("-number")[0]


def test_one_of_several_commitments_is_chosen(scene: Scene) -> None:
    second = {**CHARGES[0], "key": "more", "name": "More calls"}
    body = {"currency": "USD", "charges": [*CHARGES, second]}
    client = sign_in(scene, Role.FINANCE)
    path = ask(scene.customer, make_version(scene.product, body))
    form = {"starts": "now", "currency": "USD", "agent": scene.agent.pk}
    form |= {"committed_amount": "300", "committed_price": "2700", "charge": "more"}
    confirm(client, path, **form)
    made = Subscription.objects.get(agent=scene.agent)
    assert latest_of(made).commitment["charge"] == "more"
    assert paid(made) == [Decimal(12700)]


def test_a_review_leaves_the_books_as_they_are(
    scene: Scene, newcomer: Customer
) -> None:
    client = sign_in(scene, Role.FINANCE)
    books = CustomerBooks.objects.filter(customer=newcomer).values()
    before = list(books), BillingPeriod.objects.count(), AuditEntry.objects.count()
    form = {"starts": "past", "start_at": "2026-10-10T09:00", "currency": "USD"}
    answer, _ = send(client, ask(newcomer, scene.version), do="review", **form)
    assert answer.status_code == 200
    after = list(books.all()), BillingPeriod.objects.count(), AuditEntry.objects.count()
    assert after == before


def test_a_second_contract_is_led_to_the_change_of_plan(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    path = ask(scene.customer, another(scene))
    page = client.get(path).content.decode()
    assert "has a subscription to Completions" in page
    assert move(scene) in page
    assert 'name="do"' not in page
    answer, page = send(client, path, starts="now", currency="USD", do="apply")
    assert answer.status_code == 422
    assert "already has a subscription" in page


def test_nothing_is_made_unseen_or_without_the_tick(
    scene: Scene, newcomer: Customer
) -> None:
    client = sign_in(scene, Role.FINANCE)
    path = ask(newcomer, scene.version)
    form = {"starts": "now", "currency": "USD"}
    _, page = send(client, path, do="review", **form)
    seen = digest(page)
    answer, page = send(client, path, do="apply", reviewed=seen, **form)
    assert answer.status_code == 422
    assert 'id="sure-error"' in page
    form |= {"starts": "past", "start_at": "2026-10-10T09:00"}
    _, page = send(client, path, do="apply", reviewed=seen, sure="yes", **form)
    assert "This is not what you reviewed" in page
    assert not Subscription.objects.filter(customer=newcomer).exists()


def test_the_back_office_begins_now(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    page = client.get(reverse("admin:billing_subscription_add")).content.decode()
    assert f'value="{NOW:%Y-%m-%dT%H:%M:}' in page
