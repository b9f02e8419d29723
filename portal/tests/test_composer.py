"""The composer's pages: roles, structure, saving, conflicts, figures."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock
from billing.models import LedgerEntry
from catalog import plans, products
from catalog.models import Metric, Plan, PlanVersion, ProductType
from metering.models import CostFact
from portal.selectors import month_usage
from portal.tests.scene import NOW, Scene, sign_in
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db
GRADUATED = {
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
BODY = {"currency": "USD", "charges": [FEE, GRADUATED]}


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a draft of two charges."""
    plan = plans.create_plan(
        product=scene.product, name="Growth", code="growth", actor=None
    )
    plans.save_draft(plan=plan, body=BODY, limits={"on_outage": "open"}, actor=None)
    return plan


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


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


def test_opening_and_saving_changes_nothing(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    answer = ana.post(path(plan), {**given, "do": "save"})
    assert answer.status_code == 302
    stored = draft(plan)
    assert stored.body == BODY
    assert stored.limits == {"on_outage": "open"}
    assert stored.revision == 1


def test_a_form_with_problems_is_saved_and_shown_again(ana: Client, plan: Plan) -> None:
    given = {**opened(ana, plan), "c2-unit_amount": ["0.01", "abc", "0.005"]}
    answer = ana.post(path(plan), {**given, "do": "save"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Tool calls: Tier 2 price “abc” is no number." in page
    assert 'href="#c2-tier-1-unit_amount"' in page
    assert 'value="abc" autocomplete="off" inputmode="decimal" class="figure"' in page
    stored = draft(plan)
    assert stored.body["charges"][1]["price"]["tiers"][1]["unit_amount"] == "abc"
    assert 'value="abc"' in ana.get(path(plan)).content.decode()


def test_every_saving_is_audited_with_who_did_it(
    scene: Scene, ana: Client, plan: Plan
) -> None:
    ana.post(path(plan), {**opened(ana, plan), "c1-amount": "120", "do": "save"})
    entry = AuditEntry.objects.filter(action="plan.draft_saved").latest("created_at")
    assert entry.actor == scene.people[Role.PRODUCT_MANAGER]
    assert draft(plan).saved_by == scene.people[Role.PRODUCT_MANAGER]


def test_limits_without_a_box_are_kept(ana: Client, plan: Plan) -> None:
    given = {**opened(ana, plan), "spend_cap": "25.00", "do": "save"}
    ana.post(path(plan), given)
    assert draft(plan).limits == {"on_outage": "open", "spend_cap": "25.00"}


def test_structure_changes_without_being_saved(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    added = ana.post(path(plan), {**given, "do": "charge.add"})
    page = added.content.decode()
    assert added.status_code == 200
    assert re.search(r'id="c3-name"[^>]* autofocus', page)
    again = ana.post(path(plan), {**boxes(page), "do": "c3.remove"}).content.decode()
    assert 'id="c3-name"' not in again
    moved = ana.post(path(plan), {**given, "do": "c2.up"}).content.decode()
    assert boxes(moved)["row"] == ["c2", "c1"]
    assert draft(plan).body == BODY


def test_autosave_says_when_and_counts(ana: Client, plan: Plan) -> None:
    given = {**opened(ana, plan), "c1-amount": "120", "do": "autosave"}
    answer = ana.post(path(plan), given)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "saved <time" in page
    assert 'name="revision" value="2"' in page
    assert draft(plan).body["charges"][0]["price"]["amount"] == "120"


@pytest.mark.parametrize("deed", ["save", "autosave"])
def test_the_second_writer_sees_both_and_chooses(
    scene: Scene, ana: Client, plan: Plan, deed: str
) -> None:
    given = opened(ana, plan)
    ben = sign_in(scene, Role.OWNER)
    ben.post(path(plan), {**opened(ben, plan), "c1-amount": "150", "do": "save"})
    mine = {**given, "c1-amount": "80", "c2-name": "Calls", "do": deed}
    answer = ana.post(path(plan), mine)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert f"was saved by {scene.shop.owner} at" in page
    for words in ("$150", "$80", "Calls: $0.01"):
        assert words in page, words
    assert draft(plan).body["charges"][0]["price"]["amount"] == "150"
    shown = re.search(r'name="their_revision" value="([0-9]+)"', page)
    assert shown is not None
    over = {**mine, "do": "overwrite", "their_revision": shown[1]}
    assert ana.post(path(plan), over).status_code == 302
    assert draft(plan).body["charges"][0]["price"]["amount"] == "80"


def test_overwriting_asks_again_when_a_third_was_faster(
    scene: Scene, ana: Client, plan: Plan
) -> None:
    given = opened(ana, plan)
    ben = sign_in(scene, Role.OWNER)
    for amount in ("150", "160"):
        ben.post(path(plan), {**opened(ben, plan), "c1-amount": amount, "do": "save"})
    over = {**given, "c1-amount": "80", "do": "overwrite", "their_revision": "2"}
    assert ana.post(path(plan), over).status_code == 409
    assert draft(plan).body["charges"][0]["price"]["amount"] == "160"


def test_what_was_published_meanwhile_is_said(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    plans.publish(version=draft(plan), actor=None)
    answer = ana.post(path(plan), {**given, "c1-amount": "80", "do": "save"})
    assert answer.status_code == 409
    assert "Growth v1 was published at" in answer.content.decode()
    assert not PlanVersion.objects.filter(plan=plan, state="draft").exists()


def test_a_published_plan_is_edited_as_its_next_version(
    ana: Client, plan: Plan
) -> None:
    plans.publish(version=draft(plan), actor=None)
    page = ana.get(path(plan)).content.decode()
    assert "Draft v2" in page
    assert "v1 is live" in page
    assert re.search(r'id="c1-key"[^>]* readonly', page)
    assert PlanVersion.objects.count() == 2  # Looking makes no draft.
    ana.post(path(plan), {**boxes(page), "c1-amount": "150", "do": "save"})
    assert draft(plan).number == 2
    again = ana.get(path(plan)).content.decode()
    assert figure(again, "Compared with v1") == 51


def simulated(client: Client, plan: Plan, **changes: Any) -> str:
    """Return what the simulator answers to the form with changes."""
    given = {**opened(client, plan), **changes}
    answer = client.post(path(plan, "simulate"), given)
    assert answer.status_code == 200
    return answer.content.decode()


def quantity_box(client: Client, plan: Plan) -> str:
    """Return the name of the one quantity's box."""
    (name,) = [name for name in opened(client, plan) if name.startswith("q-")]
    return name


def test_figures_are_the_engines(ana: Client, plan: Plan) -> None:
    box = quantity_box(ana, plan)
    page = simulated(ana, plan, **{box: "14,000", box.replace("q-", "k-"): "0.0021"})
    assert figure(page, "Customer pays") == Decimal("201")
    assert figure(page, "Our cost") == Decimal("29.4")
    assert figure(page, "Margin") == Decimal("171.6")
    assert figure(page, "Next 1,000 calls cost") == 5
    for step in (
        "first 1,000 × $0.01 = $10.00",
        "next 9,000 × $0.008 = $72.00",
        "4,000 above 10,000 × $0.005 = $20.00",
    ):
        assert step in page
    assert '<svg class="plot curve"' in page
    assert "<input" not in page  # Never the boxes that somebody types in.


def test_figures_stay_away_while_there_are_problems(ana: Client, plan: Plan) -> None:
    page = simulated(ana, plan, **{"c1-amount": "x"})
    assert 'data-problem="Amount “x” is no number.' in page
    assert 'id="figures"' not in page
    box = quantity_box(ana, plan)
    page = simulated(ana, plan, **{box: "many"})
    assert f'href="#{box}"' in page
    assert 'id="figures"' not in page


@pytest.mark.parametrize("text", ["-1", "1e3", "0.0000000000001", "1" * 17])
def test_quantities_that_rating_would_refuse_are_refused(
    ana: Client, plan: Plan, text: str
) -> None:
    page = simulated(ana, plan, **{quantity_box(ana, plan): text})
    assert "Quantity" in page
    assert 'id="figures"' not in page


def test_the_largest_quantity_is_priced_without_a_curve(
    ana: Client, plan: Plan
) -> None:
    page = simulated(ana, plan, **{quantity_box(ana, plan): "9" * 16})
    assert 'id="figures"' in page
    assert "plot curve" not in page


def test_another_metric_brings_another_box(ana: Client, plan: Plan) -> None:
    page = simulated(ana, plan, **{"c2-metric": "input_tokens"})
    assert 'id="usage"' in page


def test_charges_that_overlap_are_doubted(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    twin = ana.post(path(plan), {**given, "do": "c2.duplicate"}).content.decode()
    assert "an event can match both" in twin
    assert 'href="#c2-summary"' in twin


def october(scene: Scene) -> QuerySet[LedgerEntry]:
    """Return what the customer's usage of October was rated with."""
    start, end = month_usage.last_month(NOW)
    rows = scene.ledger().filter(event_id__isnull=False)
    return rows.filter(occurred_at__gte=start, occurred_at__lt=end)


def same_plan(scene: Scene) -> Plan:
    """Return a plan whose draft says what the customer's plan says."""
    made = plans.create_plan(
        product=scene.product, name="Same", code="same", actor=None
    )
    plans.save_draft(plan=made, body=scene.version.body, limits={}, actor=None)
    return made


def test_a_customers_month_costs_what_was_invoiced(scene: Scene, ana: Client) -> None:
    page = simulated(ana, same_plan(scene), customer=scene.customer.public_id)
    rated = sum((row.amount for row in october(scene)), Decimal(0))
    assert rated > 0
    assert figure(page, "Customer pays") == 99 + rated
    assert figure(page, "Invoiced, lines rounded") == scene.invoice.subtotal
    events = october(scene).values("event_id")
    known = CostFact.objects.filter(event__in=events, amount__isnull=False)
    assert figure(page, "Our cost") == sum(fact.amount for fact in known)
    assert "1 events have no known cost" in page


def test_a_month_is_read_once_for_many_prices(scene: Scene, ana: Client) -> None:
    plan = same_plan(scene)
    given = {**opened(ana, plan), "customer": scene.customer.public_id}
    ana.post(path(plan, "simulate"), given)
    with CaptureQueriesContext(
        connection,
    ) as seen:
        ana.post(path(plan, "simulate"), {**given, "c4-unit_amount": "0.02"})
    assert len(seen) < 20
    assert not any("metering_usageevent" in q["sql"] for q in seen.captured_queries)
    cache.clear()


def test_a_customer_of_nobody_is_no_choice(scene: Scene, ana: Client) -> None:
    page = simulated(ana, same_plan(scene), customer="cus_nobody")
    assert "events of" not in page


def test_a_month_with_too_many_events_is_left_to_backtests(
    scene: Scene, ana: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(month_usage, "EVENTS_MAX", 3)
    page = simulated(ana, same_plan(scene), customer=scene.customer.public_id)
    assert "has more than 3 events in October 2026" in page


def test_a_typed_quantity_costs_the_blended_cost(scene: Scene, ana: Client) -> None:
    plan = same_plan(scene)
    names = {name: "0" for name in opened(ana, plan) if name.startswith("q-")}
    output = Metric.objects.get(code="output_tokens")
    page = ana.get(path(plan)).content.decode()
    box = re.search(r'for="(q-[0-9a-f]+)">Output tokens', page)
    assert box is not None
    assert output.field == "output_tokens"
    answer = simulated(ana, plan, **{**names, box[1]: "1000"})
    assert figure(answer, "Our cost") == Decimal("0.0052")


def test_an_unknown_cost_is_a_dash_with_its_reason(ana: Client, plan: Plan) -> None:
    with clock.travel(NOW + dt.timedelta(days=90)):
        cache.clear()
        page = simulated(ana, plan)
    assert "no cost of calls is known from the last 30 days" in page


@pytest.mark.parametrize(
    "role", [Role.VIEWER, Role.FINANCE, Role.OPERATIONS, Role.DEVELOPER]
)
def test_only_those_who_price_compose(scene: Scene, plan: Plan, role: Role) -> None:
    client = sign_in(scene, role)
    for page in ("edit", "simulate"):
        assert client.post(path(plan, page), {}).status_code == 403
    assert client.get(path(plan)).status_code == 403
    assert client.get("/plans/new").status_code == 403
    assert client.post("/plans/new", {"name": "X"}).status_code == 403
    assert draft(plan).body == BODY


def test_plans_of_others_and_absent_ones_are_not_found(
    scene: Scene, ana: Client
) -> None:
    other = make_tenant()
    product = products.create_product(
        tenant=other, name="P", code="p", type=ProductType.AGENTIC_API, actor=None
    )
    foreign = plans.create_plan(product=product, name="F", code="f", actor=None)
    for plan in (foreign.public_id, "pln_nothing", "x"):
        for page in ("edit", "simulate"):
            assert ana.post(f"/plans/{plan}/{page}", {}).status_code == 404
        assert ana.get(f"/plans/{plan}/edit").status_code == 404


def test_the_simulator_only_answers_what_is_posted(ana: Client, plan: Plan) -> None:
    assert ana.get(path(plan, "simulate")).status_code == 405


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"row": "x", "do": "save"},
        {"row": ["c1", "c1", "c2"], "revision": "-1"},
        {"row": "c1", "c1-model": "no such", "revision": "9" * 30},
        {"row": "c1", "c1-model": "included", "c1-overage": "included"},
        {"row": "c1", "c1-model": "graduated", "c1-was": "json", "currency": "???"},
        {"customer": "cus_x", "curve": "x", "do": "\x00"},
    ],
)
def test_forged_forms_break_nothing(ana: Client, plan: Plan, given: Any) -> None:
    assert ana.post(path(plan, "simulate"), given).status_code == 200
    answer = ana.post(path(plan), {"do": "c1.up", **given})
    assert answer.status_code in (200, 302, 409, 422)


def test_a_form_of_twenty_charges_with_thirty_tiers_is_taken(
    ana: Client, plan: Plan
) -> None:
    tiers = [
        {"up_to": str(n * 1000), "unit_amount": f"0.{90 - n}"} for n in range(1, 30)
    ]
    price = {
        "model": "graduated",
        "tiers": [*tiers, {"up_to": None, "unit_amount": "0.1"}],
    }
    charges = [
        {**GRADUATED, "key": f"k{n}", "filter": {"tool": f"t{n}"}, "price": price}
        for n in range(20)
    ]
    body = {"currency": "USD", "charges": charges}
    plans.save_draft(plan=plan, body=body, limits={}, actor=None)
    given = opened(ana, plan)
    assert sum(len(v) for v in given.values()) > 1_800
    assert ana.post(path(plan), {**given, "do": "save"}).status_code == 302
    assert draft(plan).body == body
