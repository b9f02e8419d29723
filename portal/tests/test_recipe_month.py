"""A month of a credits plan: billed to the cent, one price outside, meters inside."""

from __future__ import annotations

import copy
import datetime as dt
import io
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pypdf import PdfReader

from aforo.core.models import Membership, Role, User
from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing import invoicing, pdf
from billing.models import Invoice, LedgerEntry, UsageTotal
from billing.preview import preview
from catalog import products
from catalog.pricing import state_from_json
from catalog.starters import starters
from metering import pipeline
from metering.models import Session, UsageEvent
from portal.selectors.sessions import trace
from portal.tests.scene import MODEL, event_path
from portal.trace import Stage
from tests.factories import Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db
OCTOBER = dt.datetime(2026, 10, 10, 9, 30, tzinfo=dt.UTC)
NOVEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
# What no customer may read.
SECRETS = ("tokens", "tool calls", "markup", "our cost", "rounding each")


def credits_body(markup: str = "20") -> dict[str, Any]:
    """Return the template of credits with a markup."""
    charges = copy.deepcopy(list(starters()["credits"].charges))
    charges[1]["price"]["markup_percent"] = markup
    return {"currency": "USD", "charges": charges}


def use(shop: Shop, at: dt.datetime = OCTOBER) -> None:
    """Store what comes to 10,330 credits: 40 × 18, 6,000, 3,600 and 10 × 1."""
    second = dt.timedelta(seconds=1)
    model = {"model": MODEL}
    for number in range(40):
        store_event(
            shop,
            {"input_tokens": 2400, "output_tokens": 800, "tool_calls": 2},
            at=at + number * second,
            properties=model,
            session_key="run-1" if number < 3 else "",
        )
    store_event(shop, {"input_tokens": 5_000_000}, at=at, properties=model)
    store_event(shop, {"output_tokens": 1_000_000}, at=at, properties=model)
    for number in range(10):
        later = at + dt.timedelta(days=1, seconds=number)
        store_event(shop, {"input_tokens": 10}, at=later, properties=model)


@pytest.fixture
def shop(db: None) -> Shop:
    """A tenant that sells credits, with a month of usage in the books."""
    made = make_shop(body=credits_body(), since=dt.datetime(2026, 9, 15, tzinfo=dt.UTC))
    add_cost(made.tenant, model=MODEL, unit="input_uncached_tokens", amount="0.000001")
    add_cost(made.tenant, model=MODEL, unit="output_tokens", amount="0.000005")
    use(made)
    with clock.travel(NOVEMBER - dt.timedelta(hours=1)):
        pipeline.rate()
    return made


def closed(shop: Shop) -> Invoice:
    """Return the issued invoice of October."""
    for at in (NOVEMBER, NOVEMBER + dt.timedelta(hours=2)):
        with clock.travel(at):
            invoicing.close_periods(clock.now())
    return Invoice.objects.get(
        customer=shop.customer, number__isnull=False, period__start_at__month=10
    )


@pytest.fixture
def vera(shop: Shop) -> Client:
    """The browser of somebody of the seller."""
    user = User.objects.create_user(email="vera@acme.test", password=None, name="Vera")
    Membership.objects.create(tenant=shop.tenant, user=user, role=Role.VIEWER)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def test_a_month_of_credits_is_billed_to_the_cent(shop: Shop) -> None:
    with clock.travel(NOVEMBER - dt.timedelta(hours=1)):
        made = preview(customer=shop.customer, currency="USD", now=clock.now())
    invoice = closed(shop)
    lines = {line.charge_key: line for line in invoice.lines.all()}
    assert {key: line.amount for key, line in lines.items()} == {
        "platform": Decimal("99.00"),
        "credits": Decimal("3.30"),
    }
    assert invoice.total == Decimal("102.30")
    assert lines["credits"].quantity == 10_330
    assert [(s["label"], s["amount"]) for s in lines["credits"].steps] == [
        ("10,000 of 10,000 included", "0"),
        ("330 × $0.01", "3.3"),
    ]
    assert made is not None
    assert made.total == invoice.total
    assert [line.steps for line in made.lines] == [
        line.steps for line in invoice.lines.all()
    ]
    total = UsageTotal.objects.get(
        subscription=shop.subscription, period__start_at__month=10
    )
    state: Any = state_from_json(total.state)["credits"]
    assert (state.count, state.units) == (52, 10_330)
    assert state.meters == {
        "input_tokens": 5_096_100,
        "output_tokens": 1_032_000,
        "tool_calls": 80,
    }
    assert {code: found for code, found in breaks().items() if found} == {}


def test_the_line_opens_to_meters_and_cost_for_staff(shop: Shop, vera: Client) -> None:
    invoice = closed(shop)
    line = invoice.lines.get(charge_key="credits")
    address = f"/invoices/{invoice.public_id}"
    shut = vera.get(address).content.decode()
    assert "Underneath" not in shut
    page = vera.get(address, {"line": line.public_id}).content.decode()
    for words in (
        "5,096,100 input tokens × 1 per 1K",
        "1,032,000 output tokens × 3 per 1K",
        "80 tool calls × 5",
        "20 % markup on 8,592.1",
        "rounding each event",
        "equals the quantity",
        "Our cost of these events",
    ):
        assert words in page
    # 5,096,100 × 0.000001 + 1,032,000 × 0.000005.
    assert 'value="10.256100000000"' in page or "$10.26" in page
    flat = invoice.lines.get(charge_key="platform")
    other = vera.get(address, {"line": flat.public_id}).content.decode()
    assert "Underneath" not in other


def test_a_preview_opens_to_the_same(shop: Shop, vera: Client) -> None:
    with clock.travel(NOVEMBER - dt.timedelta(hours=1)):
        address = f"/customers/{shop.customer.public_id}/upcoming"
        line = f"{shop.subscription.public_id}.credits"
        page = vera.get(address, {"line": line}).content.decode()
    assert "5,096,100 input tokens × 1 per 1K" in page
    assert "equals the quantity" in page


def test_what_a_customer_gets_never_names_a_meter(shop: Shop, vera: Client) -> None:
    invoice = closed(shop)
    reader = PdfReader(io.BytesIO(pdf.render(invoice)))
    paper = " ".join(page.extract_text() for page in reader.pages).lower()
    assert "credits" in paper
    assert "10,330" in paper
    line = invoice.lines.get(charge_key="credits")
    csv = vera.get(
        reverse("invoice-line-csv", args=[invoice.public_id, line.public_id])
    )
    texts = [paper]
    assert csv.status_code == 200
    rows = b"".join(csv).decode().lower()
    assert rows.count("credits") == 52
    texts.append(rows)
    for text in texts:
        for secret in SECRETS:
            assert secret not in text


def test_the_public_price_list_has_no_markup(shop: Shop) -> None:
    products.show_prices(product=shop.product, public=True, actor=None)
    base = f"/prices/{shop.tenant.public_id}/{shop.product.code}"
    page = Client().get(base)
    assert page.status_code == 200
    text = page.content.decode()
    assert "1K input tokens" in text
    assert "1.2 credits" in text
    data = Client().get(f"{base}.json").content.decode()
    for hidden in ("markup", "20 %", "our cost"):
        assert hidden not in text.lower()
        assert hidden not in data.lower()


def test_an_event_says_its_credits_and_what_they_are_made_of(
    shop: Shop, vera: Client
) -> None:
    event = UsageEvent.objects.filter(customer=shop.customer).order_by("id").first()
    assert event is not None
    page = vera.get(event_path(event)).content.decode()
    for words in (
        "2,400 input tokens × 1 per 1K → 2.4 credits",
        "20 % markup on 14.8 → 2.96 credits",
        "rounding each event → 0.24 credits",
        "18 of 10,000 included = $0.00",
    ):
        assert words in page


def test_a_sessions_stages_share_the_price_by_what_was_weighed(shop: Shop) -> None:
    # Beyond the quota, so that the session costs something.
    store_event(
        shop,
        {"input_tokens": 2400, "output_tokens": 800, "tool_calls": 2},
        at=OCTOBER + dt.timedelta(days=2),
        properties={"model": MODEL},
        session_key="run-2",
    )
    with clock.travel(NOVEMBER - dt.timedelta(hours=1)):
        pipeline.rate()
    session = Session.objects.get(customer=shop.customer, key="run-2")
    found = trace(session)
    prices = {row.stage: row.price for row in found.rows}
    assert found.price == Decimal("0.18")
    assert found.agrees
    # 2.4, 2.4 and 10 of 14.8 credits.
    assert prices[Stage.PROMPT] == Decimal("0.029189189189")
    assert prices[Stage.TOOL] == Decimal("0.121621621622")
    assert (
        prices[Stage.OUTPUT]
        == Decimal("0.18") - prices[Stage.PROMPT] - (prices[Stage.TOOL])
    )
    assert {p for row in found.rows for p in row.parts} == {"Credits"}
    entry = LedgerEntry.objects.get(session_id=session.id)
    assert entry.amount == Decimal("0.18")
