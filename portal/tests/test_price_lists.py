"""Public price lists: only what was made public, and only what customers may see."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role
from catalog import plans, products
from catalog.models import Metric
from portal.tests.scene import PLAN, Scene, sign_in
from portal.tests.test_plans import draft, path

pytestmark = pytest.mark.django_db


def url(scene: Scene, end: str = "") -> str:
    """Return where the product's price list is."""
    return f"/prices/{scene.tenant.public_id}/{scene.product.code}{end}"


@pytest.fixture
def public(scene: Scene) -> Scene:
    """The scene, its price list public."""
    products.show_prices(product=scene.product, public=True, actor=None)
    return scene


def test_nothing_is_public_by_itself(scene: Scene) -> None:
    for end in ("", ".json"):
        assert Client().get(url(scene, end)).status_code == 404


def test_anybody_reads_live_prices_and_nothing_else(public: Scene) -> None:
    draft(public, "0.77")
    page = Client().get(url(public)).content.decode()
    told = Client().get(url(public, ".json")).content.decode()
    for body in (page, told):
        assert "Platform fee" in body
        assert "$99.00" in body
        assert "$2.50" in body or "2.5" in body
        for secret in (
            "0.77",
            "measurement",
            "aggregation",
            "tool_calls",
            "input_tokens",
            "spend_cap",
            public.customer.name,
        ):
            assert secret not in body
    assert "above 10,000 tokens" in page


def test_the_json_has_exact_prices(public: Scene) -> None:
    answer = Client().get(url(public, ".json"))
    assert answer["Content-Type"] == "application/json"
    told = json.loads(answer.content)
    assert told["product"]["code"] == public.product.code
    (offer,) = told["plans"]
    assert (offer["version"], offer["currency"]) == (1, "USD")
    assert offer["charges"][3] == {
        "name": "Tool calls",
        "unit": "calls",
        "price": {"model": "per_unit", "unit_amount": "0.01"},
        "text": "$0.01 per call",
    }


def test_prices_are_shown_in_the_currency_that_is_asked_for(public: Scene) -> None:
    eur = {row["key"]: {"price": row["price"]} for row in PLAN["charges"]}
    eur["platform"] = {"price": {"model": "flat", "amount": "95", "due": "advance"}}
    body = {**PLAN, "currencies": {"EUR": {"charges": eur}}}
    draft = plans.save_draft(plan=public.version.plan, body=body, limits={}, actor=None)
    plans.publish(version=draft, actor=None)
    assert "$99.00" in Client().get(url(public)).content.decode()
    page = Client().get(f"{url(public)}?currency=EUR").content.decode()
    assert "€95.00" in page
    assert "$99.00" not in page
    told = json.loads(Client().get(url(public, ".json")).content)["plans"][0]
    (fee, *_) = told["currencies"]["EUR"]["charges"]
    assert fee["text"] == "€95.00 a month, in advance"
    assert "measurement" not in json.dumps(told)
    # Of a currency that nobody sells in, and of nonsense, the plan's own is shown.
    for other in ("GBP", "%00"):
        page = Client().get(f"{url(public)}?currency={other}").content.decode()
        assert "$99.00" in page


def test_prices_may_be_kept_for_a_while(public: Scene) -> None:
    answer = Client().get(url(public, ".json"))
    assert answer["Cache-Control"] == "public, max-age=300"
    assert Client().get(url(public))["Cache-Control"] == "public, max-age=300"
    again = Client().get(
        url(public, ".json"), headers={"if-none-match": answer["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    plans.publish(version=draft(public), actor=None)
    fresh = Client().get(
        url(public, ".json"), headers={"if-none-match": answer["ETag"]}
    )
    assert fresh.status_code == 200


def test_retired_versions_and_archived_products_are_not_offered(public: Scene) -> None:
    plans.retire(version=public.version, actor=None)
    assert "No plan is offered now" in Client().get(url(public)).content.decode()
    public.product.archived_at = public.product.created_at
    public.product.save()
    assert Client().get(url(public)).status_code == 404


@pytest.mark.parametrize(
    "wrong", ["/prices/ten_nothing/x", "/prices/acme/x", "/prices/{tenant}/other"]
)
def test_what_is_absent_is_404(public: Scene, wrong: str) -> None:
    asked = wrong.format(tenant=public.tenant.public_id)
    for end in ("", ".json"):
        assert Client().get(asked + end).status_code == 404
    assert Client().post(url(public)).status_code == 405


def test_who_is_signed_in_elsewhere_sees_it_and_stays_there(
    public: Scene, as_olga: Client
) -> None:
    assert "Platform fee" in as_olga.get(url(public)).content.decode()
    assert public.customer.name not in as_olga.get("/customers").content.decode()
    assert as_olga.get("/plans").status_code == 200


def test_the_switch_asks_acts_and_is_audited(scene: Scene) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    switch = f"/products/{scene.product.public_id}/price-list"
    assert "never on it" in client.get(switch).content.decode()
    done = client.post(switch, follow=True).content.decode()
    assert f"at {url(scene)}." in done
    assert "Hide prices…" in done
    assert Client().get(url(scene)).status_code == 200
    assert "answers 404 from now on" in client.get(switch).content.decode()
    client.post(switch)
    assert Client().get(url(scene)).status_code == 404
    actions = AuditEntry.objects.filter(action__startswith="product.prices")
    assert actions.count() == 2
    products.show_prices(product=scene.product, public=False, actor=None)
    assert actions.count() == 2


@pytest.mark.parametrize("role", [Role.FINANCE, Role.OPERATIONS, Role.VIEWER])
def test_the_switch_needs_a_role(scene: Scene, role: Role) -> None:
    switch = f"/products/{scene.product.public_id}/price-list"
    assert sign_in(scene, role).post(switch).status_code == 403
    assert (
        "Make prices public"
        not in sign_in(scene, role)
        .get(f"/products/{scene.product.public_id}")
        .content.decode()
    )


def test_a_plan_on_our_cost_does_not_say_so(public: Scene) -> None:
    products.create_metric(
        tenant=public.tenant,
        code="our_cost",
        name="Cost",
        aggregation=Metric.Aggregation.SUM,
        field="cogs",
        unit="USD",
        actor=None,
    )
    plans.save_draft(
        plan=public.version.plan,
        body={
            "currency": "USD",
            "charges": [
                {
                    "key": "markup_secret",
                    "name": "Model usage",
                    "metric": "our_cost",
                    "price": {"model": "percentage", "rate": "130"},
                }
            ],
        },
        limits={},
        actor=None,
    )
    staff = sign_in(public, Role.OWNER).get(path(public, "?version=2"))
    assert "our cost" in staff.content.decode()
    version = public.version.plan.versions.get(number=2)
    plans.publish(version=version, actor=None)
    for end in ("", ".json"):
        body = Client().get(url(public, end)).content.decode()
        for secret in ("our_cost", "cogs", "our cost", "markup_secret"):
            assert secret not in body


def preview(scene: Scene, role: Role = Role.PRODUCT_MANAGER, **query: str) -> str:
    """Return the page that shows the plan as a customer would read it."""
    where = f"/plans/{scene.version.plan.public_id}/preview"
    answer = sign_in(scene, role).get(where, query)
    assert answer.status_code == 200
    page: str = answer.content.decode()
    return page


def test_a_draft_is_previewed_as_its_customers_will_read_it(scene: Scene) -> None:
    draft(scene, "0.77")
    page = preview(scene)
    assert "Draft, not published" in page
    assert "$0.77" in page
    assert "not in force" in page
    for secret in ("aggregation", "tool_calls", "input_tokens", "spend_cap", "COGS"):
        assert secret not in page
    old = preview(scene, version="1")
    assert "Published" in old
    assert "$0.77" not in old
    # Nothing became public by looking at it.
    assert Client().get(url(scene)).status_code == 404


def test_a_draft_that_is_not_complete_says_why_it_cannot_be_shown(
    scene: Scene,
) -> None:
    found = draft(scene)
    charges = [*found.body["charges"], {"key": "x", "name": "X", "price": {}}]
    body = {**found.body, "charges": charges}
    plans.save_draft(plan=found.plan, body=body, limits={}, actor=None)
    page = preview(scene)
    assert "The draft cannot be shown yet" in page
    assert "charges[4].price" in page


def test_a_preview_is_for_the_sellers_people_alone(scene: Scene) -> None:
    where = f"/plans/{scene.version.plan.public_id}/preview"
    assert Client().get(where).status_code == 302
    assert sign_in(scene, Role.DEVELOPER).get(where).status_code in (403, 404)
    assert sign_in(scene, Role.VIEWER).get(where).status_code == 200
    for number in ("9", "x", "²"):
        path_of = f"{where}?version={number}"
        assert sign_in(scene, Role.VIEWER).get(path_of).status_code == 404
