"""Short ways to write plans, form texts and pages in tests of the composer."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from django.http import QueryDict
from django.test import Client

from catalog import plans
from catalog.models import Metric, Plan, PlanVersion
from portal.composer.bodies import from_body
from portal.composer.boxes import Box
from portal.composer.posting import from_post
from portal.composer.shown import Shower, ShownPrice
from portal.composer.typed import Typed
from portal.tests.scene import Scene

TOKENS = Metric(
    code="tokens", name="Tokens", aggregation="sum", field="tokens", unit="token"
)
METRICS = {"tokens": TOKENS}
EACH = {"model": "per_unit", "unit_amount": "3.00", "per": 1000000}
TIERS = [
    {"up_to": "1000", "unit_amount": "0.01", "flat_amount": "5"},
    {"up_to": "10000.5", "unit_amount": "0.0000025"},
    {"up_to": None, "unit_amount": "0.005"},
]
PRICES: list[dict[str, Any]] = [
    EACH,
    {"model": "per_unit", "unit_amount": "0.0000025"},
    {"model": "graduated", "tiers": TIERS},
    {"model": "volume", "tiers": TIERS, "per": 1000},
    {"model": "package", "size": "1000", "amount": "1"},
    {"model": "package", "size": "10", "price": {"model": "volume", "tiers": TIERS}},
    {"model": "included", "units": "1000000", "overage": EACH},
    {
        "model": "included",
        "units": "5",
        "overage": {"model": "percentage", "rate": "2.5"},
    },
    {
        "model": "included",
        "units": "5",
        "overage": {
            "model": "package",
            "size": "10",
            "price": {"model": "graduated", "tiers": TIERS},
        },
    },
    {
        "model": "percentage",
        "rate": "2.5",
        "fixed_amount": "0.1",
        "minimum": "0.50",
        "maximum": "9",
        "free_events": 3,
        "free_amount": "100",
    },
    {"model": "flat", "amount": "99", "due": "arrears"},
]


def body_of(*prices: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return plan JSON with a charge for each price."""
    charges = []
    for number, price in enumerate(prices):
        row = {"key": f"k{number}", "name": f"Charge {number}", "price": price}
        if price.get("model") != "flat":
            row["metric"] = "tokens"
        charges.append({**row, **more})
    return {"currency": "USD", "charges": charges}


def read(body: dict[str, Any], **limits: Any) -> Typed:
    """Return plan JSON as the texts of the form."""
    return from_body(body, limits=limits, prorate=False)


def posted(typed: Typed, **changes: Any) -> Typed:
    """Return the form as a browser would post what the page shows."""
    data = QueryDict(mutable=True)
    data["currency"] = typed.currency
    shower = Shower(typed, {}, METRICS.values(), fixed_keys=frozenset())

    def put(*boxes: Box) -> None:
        for box in boxes:
            data.appendlist(box.name, box.value)

    def put_price(price: ShownPrice) -> None:
        data[f"{price.prefix}-was"] = price.model
        put(*price.boxes)
        for row in price.tiers:
            data.appendlist(
                f"{price.prefix}-up_to", row.up_to.value if row.up_to else ""
            )
            put(row.unit_amount, row.flat_amount)
        if price.inner and price.inner_choice:
            put(price.inner_choice)
            put_price(price.inner)

    for charge in shower.charges():
        data.appendlist("row", charge.uid)
        put(charge.name, charge.key, charge.unit, charge.metric, charge.model)
        for name, values, _ in charge.filters:
            put(name, values)
        put_price(charge.price)
    for level in shower.levels():
        put(level.name, level.key)
        for column, shown in (("trigger", level.trigger), ("amount", level.amount)):
            data.appendlist(f"level_{column}", shown.value if shown else "")
    put(*shower.limits().values())
    for row in shower.quotas():
        put(*row)
    for box_name, given_texts in changes.items():
        texts = [given_texts] if isinstance(given_texts, str) else given_texts
        data.setlist(box_name, texts)
    return from_post(data, kept_limits={})


CALLS = {
    "key": "calls",
    "name": "Tool calls",
    "unit": "calls",
    "metric": "tool_calls",
    "price": {
        "model": "graduated",
        "tiers": [
            {"up_to": "1000", "unit_amount": "0.0100"},
            {"up_to": "10000", "unit_amount": "0.0080"},
            {"up_to": None, "unit_amount": "0.0050"},
        ],
    },
}
FEE = {
    "key": "platform",
    "name": "Platform fee",
    "price": {"model": "flat", "amount": "99", "due": "advance"},
}
BODY = {"currency": "USD", "charges": [FEE, CALLS]}


def make_plan(scene: Scene) -> Plan:
    """Return a plan with a draft of two charges."""
    plan = plans.create_plan(
        product=scene.product, name="Growth", code="growth", actor=None
    )
    plans.save_draft(plan=plan, body=BODY, limits={"on_outage": "open"}, actor=None)
    return plan


def path(plan: Plan, page: str = "edit") -> str:
    """Return an address of the plan's composer."""
    return f"/plans/{plan.public_id}/{page}"


def boxes(html: str) -> dict[str, Any]:
    """Return what the form on a page would post, as a browser does."""
    form = html[
        html.index('id="composer"') : html.index("</form>", html.index('id="composer"'))
    ]
    found: dict[str, Any] = {}

    def put(name: str, value: str) -> None:
        text = value.replace("&quot;", '"').replace("&amp;", "&").replace("&#x27;", "'")
        found.setdefault(name, []).append(text)

    for tag in re.finditer(
        r"<input\b[^>]*>|<select\b.*?</select>|<textarea\b.*?</textarea>", form, re.S
    ):
        text = tag[0]
        name = re.search(r'\sname="([^"]+)"', text.split(">")[0])
        if name is None:
            continue
        if text.startswith("<select"):
            value = re.search(r'value="([^"]*)" selected', text) or re.search(
                r'value="([^"]*)"', text
            )
            put(name[1], value[1] if value else "")
        elif text.startswith("<textarea"):
            put(name[1], text[text.index(">") + 1 : text.rindex("<")])
        elif 'type="checkbox"' not in text or " checked" in text:
            value = re.search(r'\svalue="([^"]*)"', text)
            put(name[1], value[1] if value else "on")
    return found


def opened(client: Client, plan: Plan) -> dict[str, Any]:
    """Return the form as the page shows it first."""
    answer = client.get(path(plan))
    assert answer.status_code == 200
    return boxes(answer.content.decode())


def draft(plan: Plan) -> PlanVersion:
    """Return the stored draft."""
    return PlanVersion.objects.get(plan=plan, state="draft")


def figure(html: str, label: str) -> Decimal:
    """Return the exact amount that stands for a label among the sums."""
    found = re.search(rf'<dt[^>]*>{label}.*?value="([^"]+)"', html, re.S)
    assert found is not None, label
    return Decimal(found[1])
