"""What-if: what the form offers, what it refuses, and what the answer says."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.test import Client

from aforo.core.models import Role
from aforo.lib import clock
from billing import accounts
from catalog.cost_rates import import_library
from metering import cost_jobs, pipeline
from metering.models import CostRun
from portal.tests.test_model_prices import LONG_AGO, sign_in
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db

PAGE = "/analytics/migration"
MEASURED = {"input_tokens": 1_000, "output_tokens": 1_000}


@pytest.fixture
def shop() -> Shop:
    """A shop that used two models this month and one of them last month."""
    shop = make_shop()
    models = [("openai", "gpt-4o"), ("openai", "gpt-4o-mini")]
    import_library(models, clock.now() - LONG_AGO)
    for model in ("gpt-4o", "gpt-4o", "gpt-4o-mini"):
        store_event(shop, MEASURED, properties={"model": model})
    store_event(shop, MEASURED, properties={"model": "gpt-4o"}, at=last_month())
    pipeline.rate()
    return shop


def last_month() -> dt.datetime:
    """Return a moment of the month before."""
    first = clock.now().replace(day=1, hour=12, minute=0)
    return first - dt.timedelta(days=2)


def month(at: dt.datetime | None = None) -> str:
    """Return a month as the form has it."""
    return f"{at or clock.now():%Y-%m}"


def answer_of(client: Client, **form: str) -> Any:
    """Ask, work it out, and return the page with the answer."""
    asked = client.post(PAGE, {"month": month(), **form})
    assert asked.status_code == 302, asked.context["form"].errors
    cost_jobs.run()
    return client.get(asked.headers["Location"])


def test_the_form_offers_what_the_month_used_most_used_first(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    form = client.get(PAGE, {"month": month()}).context["form"]
    labels = [label for _, label in form.fields["model"].widget.choices]
    assert labels == [
        "Every model",
        "gpt-4o · openai · 2 events",
        "gpt-4o-mini · openai · 1 event",
    ]
    assert form["model"].value() == "openai/gpt-4o"
    assert form.customers == [(shop.customer.name, f"{shop.customer.name} · 3 events")]
    product = (shop.product.public_id, "Completions · 3 events")
    assert product in form.fields["product"].widget.choices
    (_, (maker, targets)) = form.fields["target"].widget.choices
    assert maker == "openai"
    assert ("openai/gpt-4o-mini", "gpt-4o-mini · $0.15 in, $0.60 out per 1M") in targets


def test_the_last_closed_month_is_chosen_by_itself(shop: Shop) -> None:
    page = sign_in(shop, Role.FINANCE).get(PAGE)
    assert f"{page.context['day']:%Y-%m}" == month(last_month())
    assert page.context["months"] == [
        (clock.now().date().replace(day=1), 3),
        (last_month().date().replace(day=1), 1),
    ]


def test_a_month_without_usage_says_so_and_a_wrong_one_is_named(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    old = client.get(PAGE, {"month": "2020-01"}).content.decode()
    assert "No model was used in this month" in old
    for text in ("2026-13", "2999-01", "x"):
        page = client.get(PAGE, {"month": text})
        assert page.status_code == 200
        assert f"“{text}” is no month" in page.content.decode()


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"target": ""}, "target", "Choose a model to move to, or a change"),
        ({"target": "gpt-4o-mini", "change": "5"}, "change", "either a model"),
        ({"target": "", "change": "0"}, "change", "changes nothing"),
        ({"target": "gpt-4o-mni-x"}, "target", "Did you mean gpt-4o-mini"),
        ({"model": "gpt-9"}, "model", "No call of gpt-9 in"),
        ({"customer": "Nobody Ltd"}, "customer", "There is no customer Nobody Ltd"),
        ({"product": "prd_x"}, "product", "No product prd_x was used in"),
        ({"model": "openai/gpt-4o-mini"}, "target", "the model that it ran on"),
        ({"margin": "100"}, "margin", "less than or equal to 99.9"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    shop: Shop, given: dict[str, str], field: str, said: str
) -> None:
    form = {"month": month(), "target": "openai/gpt-4o-mini", **given}
    answer = sign_in(shop, Role.FINANCE).post(PAGE, form)
    assert answer.status_code == 422
    assert said in str(answer.context["form"].errors[field])
    assert not CostRun.objects.exists()


def test_two_customers_of_one_name_are_told_apart_by_their_ids(shop: Shop) -> None:
    twin = accounts.create_customer(
        tenant=shop.tenant, name=shop.customer.name, external_id="twin", actor=None
    )
    form = {"month": month(), "target": "gpt-4o-mini", "customer": twin.name}
    client = sign_in(shop, Role.FINANCE)
    said = str(client.post(PAGE, form).context["form"].errors["customer"])
    assert twin.public_id in said
    assert shop.customer.public_id in said
    form["customer"] = shop.customer.public_id
    assert client.post(PAGE, form).status_code == 302


def test_a_margin_that_is_not_given_is_the_one_of_before(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    page = answer_of(client, model="openai/gpt-4o", target="openai/gpt-4o-mini")
    total = page.context["total"]
    before = 2 * Decimal("0.0125") + Decimal("0.00075")
    after = 3 * Decimal("0.00075")
    assert (total["moved"], total["events"]) == (2, 3)
    assert (total["before"], total["after"]) == (before, after)
    # The same share of a smaller bill is cost.
    wanted = total["revenue"] * after / before
    assert abs(total["needed"] - wanted) < Decimal("1e-15")
    ((customer, figures, behind),) = page.context["rows"]
    assert customer == shop.customer
    assert figures["needed"] == total["needed"]
    assert figures["price_change"] < 0
    assert "For every customer's margin to stay" in page.content.decode()
    assert client.get(behind["events"]).status_code == 200
    assert client.get(behind["costs"]).status_code == 200


def test_the_biggest_effect_comes_first_on_every_page(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"Small Ltd": 1, "Big Ltd": 9, "Middle Ltd": 4}
    for name, count in calls.items():
        other = accounts.create_customer(
            tenant=shop.tenant, name=name, external_id=name, actor=None
        )
        for _ in range(count):
            store_event(shop, MEASURED, properties={"model": "gpt-4o"}, customer=other)
    pipeline.rate()
    client = sign_in(shop, Role.FINANCE)
    page = answer_of(client, target="openai/gpt-4o-mini")
    names = [customer.name for customer, _, _ in page.context["rows"]]
    assert names == ["Big Ltd", "Middle Ltd", shop.customer.name, "Small Ltd"]
    assert "biggest change of COGS first" in page.content.decode()
    run = page.context["run"]
    lines = client.get(f"/analytics/cost-runs/{run.public_id}.csv").content.decode()
    assert [line.split(",")[0] for line in lines.splitlines()[1:]] == names
    # A rise counts like a fall, and pages follow each other without a gap.
    monkeypatch.setattr("portal.views.cost_runs.PAGE_SIZE", 3)
    path = f"/analytics/cost-runs/{run.public_id}"
    first = client.get(path)
    assert [c.name for c, _, _ in first.context["rows"]] == names[:3]
    second = client.get(path, {"after": first.context["page"].after})
    assert [c.name for c, _, _ in second.context["rows"]] == names[3:]
    again = client.get(path, {"before": second.context["page"].before})
    assert [c.name for c, _, _ in again.context["rows"]] == names[:3]
    assert client.get(path, {"after": "nothing"}).status_code == 200


def test_only_the_calls_at_the_chosen_provider_move(shop: Shop) -> None:
    elsewhere = {"model": "gpt-4o", "provider": "azure"}
    store_event(shop, MEASURED, properties=elsewhere)
    pipeline.rate()
    client = sign_in(shop, Role.FINANCE)
    target = "openai/gpt-4o-mini"
    page = answer_of(client, model="openai/gpt-4o", target=target)
    assert page.context["total"]["moved"] == 2
    page = answer_of(client, model="gpt-4o", target=target)
    assert page.context["total"]["moved"] == 3


def test_the_csv_has_what_the_table_has(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    page = answer_of(client, model="openai/gpt-4o", target="gpt-4o-mini", margin="50")
    run = page.context["run"]
    lines = client.get(f"/analytics/cost-runs/{run.public_id}.csv").content.decode()
    head, row = lines.splitlines()
    cells = dict(zip(head.split(","), row.split(","), strict=True))
    assert cells["customer_id"] == shop.customer.public_id
    assert Decimal(cells["cost_after"]) == Decimal("0.00225")
    assert Decimal(cells["revenue_needed"]) == Decimal("0.0045")
    assert (cells["margin_to_hold"], cells["moved"]) == ("0.5", "2")
    again = parse_qs(page.context["again"])
    assert (again["month"], again["margin"]) == ([month()], ["50"])
    asked = client.get(f"{PAGE}?{page.context['again']}").context["form"]
    assert asked["target"].value() == "gpt-4o-mini"


def test_the_form_takes_the_same_statements_however_much_was_used(
    shop: Shop, django_assert_max_num_queries: Any
) -> None:
    client = sign_in(shop, Role.FINANCE)
    client.get(PAGE)
    with django_assert_max_num_queries(21):
        client.get(PAGE, {"month": month()})


def test_nobody_is_offered_what_another_seller_used(shop: Shop) -> None:
    page = sign_in(make_shop(), Role.FINANCE).get(PAGE, {"month": month()})
    assert shop.customer.name not in page.content.decode()
    assert not page.context["seen"].models
