"""Model prices: what is shown to whom, gaps, backdated prices, approvals, what-if."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.test import Client
from django.utils.html import strip_tags

from aforo.core.models import AuditEntry, Membership, Role
from aforo.lib import clock
from catalog.cost_rates import add_rate, import_library
from catalog.models import CostChange, CostRate
from metering import cost_jobs, pipeline, recosting
from metering.models import CostFact, CostRun, UsageRollup
from portal.tests.scene import event_path
from tests.factories import Shop, make_shop, make_user, store_event

pytestmark = pytest.mark.django_db

PAGE = "/settings/model-prices"
LONG_AGO = dt.timedelta(days=300)


@pytest.fixture
def shop() -> Shop:
    """A shop of which two of three calls have a known cost."""
    shop = make_shop()
    import_library([("openai", "gpt-4o")], clock.now() - LONG_AGO)
    for model in ("gpt-4o", "gpt-4o-2024-08-06", "mystery-1"):
        measured = {"input_tokens": 1_000, "output_tokens": 1_000}
        store_event(shop, measured, properties={"model": model})
    pipeline.rate()
    return shop


def sign_in(shop: Shop, role: Role) -> Client:
    """Return a browser in which a new member with a role is signed in."""
    user = make_user()
    Membership.objects.create(tenant=shop.tenant, user=user, role=role)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def price(**given: str) -> dict[str, str]:
    """Return the form of a price."""
    return {
        "provider": "openai",
        "model": "gpt-4o",
        "unit": "output_tokens",
        "amount": "12",
        "per": "1000000",
        "currency": "USD",
        "source": "contract",
        **given,
    }


def at(days: int) -> str:
    return (clock.now() - dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S")


def test_prices_in_use_are_shown_with_their_source(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    page = client.get(PAGE)
    text = page.content.decode()
    assert {row.rate.model for row in page.context["rows"]} == {"gpt-4o"}
    assert "Public price list" in text
    assert "1 model or tool without a price: 1 call" in " ".join(text.split())
    assert "Override" in text
    found = client.get(PAGE, {"tab": "all", "q": "no-such"})
    assert "No such price" in found.content.decode()


def test_a_price_that_another_overrides_is_marked(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    client.post(f"{PAGE}/new", price(amount="2.5", valid_from=at(20), confirm="yes"))
    client.post(f"{PAGE}/new", price(unit="input_uncached_tokens", valid_from=at(-5)))
    page = client.get(PAGE)
    over = {
        (row.rate.source, row.rate.unit): row.over and row.over.source
        for row in page.context["rows"]
        if not row.rate.context and not row.rate.above_tokens
    }
    assert over["contract", "output_tokens"] is None
    assert over["library", "output_tokens"] == "contract"
    # One that begins later overrides nothing yet.
    assert over["library", "input_uncached_tokens"] is None
    assert page.content.decode().lower().count("overridden") == sum(
        row.over is not None for row in page.context["rows"]
    )


def test_others_read_and_only_finance_and_owners_change(shop: Shop) -> None:
    for role in (Role.VIEWER, Role.PRODUCT_MANAGER, Role.OPERATIONS):
        client = sign_in(shop, role)
        page = client.get(PAGE)
        assert page.status_code == 200
        assert "Override" not in page.content.decode()
        assert client.get(f"{PAGE}/new").status_code == 403
        assert client.post(f"{PAGE}/load").status_code == 403
    assert sign_in(shop, Role.VIEWER).get("/analytics/migration").status_code == 403


@pytest.mark.parametrize(
    "tab", ["", "all", "gaps", "approvals", "changes", "corrections"]
)
def test_every_tab_has_an_empty_state(tab: str) -> None:
    client = sign_in(make_shop(), Role.FINANCE)
    page = client.get(PAGE, {"tab": tab})
    assert page.status_code == 200
    assert 'class="empty' in page.content.decode()


def test_gaps_lead_to_a_filled_in_form(shop: Shop) -> None:
    client = sign_in(shop, Role.OWNER)
    page = client.get(PAGE, {"tab": "gaps"})
    (gap,) = page.context["gaps"]
    assert (gap.name, gap.calls) == ("mystery-1", 1)
    assert "no rate for mystery-1" in gap.reason
    form = client.get(f"{PAGE}/new", {"model": "mystery-1"})
    assert 'value="mystery-1"' in form.content.decode()


def test_a_gap_says_its_own_reason_and_leads_to_its_own_events(shop: Shop) -> None:
    """Neither a tool's reason is told of other usage, nor an unread block as a gap."""
    for tool in ("get_user", "no_such_tool"):
        kind = "mcp.tool_invoked"
        store_event(shop, {"tool_calls": 1}, event_type=kind, tool_name=tool)
    store_event(shop, {"input_tokens": 5}, event_type="llm.completion")
    block = {"usage": {"what": 1}, "reading": {"refused": "usage_not_read"}}
    for _ in range(2):
        store_event(shop, {}, properties={"model": "gpt-4o"}, body=block)
    store_event(shop, {}, properties={"model": "mystery-1"}, body=block)
    pipeline.rate()
    client = sign_in(shop, Role.FINANCE)
    page = client.get(PAGE, {"tab": "gaps"})
    gaps = {(gap.name, gap.unread): gap for gap in page.context["gaps"]}
    unread = "usage_not_read"
    assert {key: gap.calls for key, gap in gaps.items()} == {
        ("mystery-1", ""): 1,
        ("get_user", ""): 1,
        ("no_such_tool", ""): 1,
        ("llm.completion", ""): 1,
        ("gpt-4o", unread): 2,
        ("mystery-1", unread): 1,
    }
    for (name, listed), gap in gaps.items():
        wanted = "usage block is not known" if listed else f"no rate for {name}"
        assert wanted in gap.reason, gap
        rows = client.get(gap.events_url).context["page"].rows
        assert len(rows) == gap.calls, gap
    text = page.content.decode()
    assert text.count("Add price<span") == 4
    assert text.count("What to do<span") == 2
    said = " ".join(strip_tags(client.get(PAGE).content.decode()).split())
    assert "4 models or tools without a price: 4 calls; 3 calls whose usage" in said


def test_an_event_of_unknown_cost_links_to_the_prices(shop: Shop) -> None:
    fact = CostFact.objects.get(model="mystery-1")
    page = sign_in(shop, Role.OWNER).get(event_path(fact.event))
    assert f"{PAGE}?tab=gaps" in page.content.decode()


def test_a_price_of_the_past_is_booked_after_its_preview(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    count = CostRate.objects.count()
    shown = client.post(f"{PAGE}/new", price(valid_from=at(20)))
    preview = shown.context["preview"]
    # Two calls of 1,000 tokens out at $12 a million in place of $10.
    assert (preview["changed"], preview["changes"]) == (2, {"USD": Decimal("0.004")})
    assert CostRate.objects.count() == count
    assert not AuditEntry.objects.filter(action="cost_rate.changed").exists()
    booked = client.post(f"{PAGE}/new", price(valid_from=at(20), confirm="yes"))
    run = CostRun.objects.get()
    assert booked.headers["Location"] == f"/analytics/cost-runs/{run.public_id}"
    assert b"Waits for a worker" in client.get(booked.headers["Location"]).content
    cost_jobs.run()
    page = client.get(booked.headers["Location"]).content.decode()
    text = " ".join(strip_tags(page).split())
    assert "2 of 3 events cost otherwise" in text
    fact = CostFact.objects.filter(kind="recost").first()
    assert fact is not None
    event = client.get(event_path(fact.event)).content.decode()
    assert "Corrected rate" in event
    assert "contract" in client.get(f"{PAGE}.csv").content.decode()


def test_a_preview_counts_every_event_whatever_fits_a_batch(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recosting, "PREVIEW_BATCH", 2)
    for _ in range(5):
        store_event(shop, {"output_tokens": 1_000}, properties={"model": "gpt-4o"})
    pipeline.rate()
    client = sign_in(shop, Role.FINANCE)
    shown = client.post(f"{PAGE}/new", price(valid_from=at(20)))
    preview = shown.context["preview"]
    assert (preview["changed"], preview["looked_at"]) == (7, 8)
    assert preview["changes"] == {"USD": Decimal("0.014")}
    assert not preview["is_cut"]
    assert "At least" not in shown.content.decode()
    client.post(f"{PAGE}/new", price(valid_from=at(20), confirm="yes"))
    cost_jobs.run()
    result = CostRun.objects.get().result
    assert result is not None
    assert (result["changed"], result["changes"]) == (7, {"USD": "0.014"})


def test_a_preview_that_takes_too_long_says_that_it_is_not_all(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recosting, "PREVIEW_BATCH", 2)
    monkeypatch.setattr(recosting, "PREVIEW_SECONDS", 0.0)
    client = sign_in(shop, Role.FINANCE)
    page = client.post(f"{PAGE}/new", price(valid_from=at(20)))
    text = " ".join(strip_tags(page.content.decode()).split())
    # Of the three calls the oldest was not looked at; it was one of gpt-4o.
    assert "At least 1 of 1 recorded event of 1 customer cost otherwise" in text
    assert "only those of the newest 2 events" in text


def test_a_price_of_the_future_needs_no_preview(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    answer = client.post(f"{PAGE}/new", price(valid_from=at(-5)))
    assert answer.headers["Location"] == PAGE
    rate = CostRate.objects.get(source="contract")
    assert rate.amount == Decimal("0.000012")
    assert not CostRun.objects.exists()
    assert AuditEntry.objects.filter(action="cost_rate.changed").count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("hours", "late"), ("amount", "-1"), ("currency", "XXX"), ("unit", "Tokens!")],
)
def test_what_is_wrong_is_said_at_its_field(shop: Shop, field: str, value: str) -> None:
    client = sign_in(shop, Role.FINANCE)
    answer = client.post(f"{PAGE}/new", price(**{field: value, "valid_from": at(-1)}))
    assert answer.status_code == 422
    assert field in answer.context["form"].errors


def test_a_price_of_ones_own_is_ended_and_the_lists_is_not(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    listed = CostRate.objects.filter(tenant=None)[0]
    assert client.get(f"{PAGE}/{listed.public_id}/close").status_code == 404
    rate = add_rate(
        tenant=shop.tenant,
        provider="tool",
        model="search",
        unit="tool.call",
        amount=Decimal(1),
        currency="USD",
        valid_from=clock.now() - LONG_AGO,
        actor=None,
    )
    url = f"{PAGE}/{rate.public_id}/close"
    assert "never 0" in client.get(url).content.decode()
    assert client.post(url, {"at": ""}).headers["Location"] == PAGE
    left = CostRate.objects.get(tenant=shop.tenant, superseded_at=None)
    assert left.valid_to is not None


def test_a_fall_is_approved_on_the_page(shop: Shop) -> None:
    change = CostChange.objects.create(
        tenant=shop.tenant,
        state="pending",
        provider="openai",
        model="gpt-4o",
        key={
            "unit": "output_tokens",
            "context": "",
            "region": "",
            "above_tokens": 0,
            "hours": "",
        },
        before={"amount": "0.00001", "per": 1},
        after={
            "amount": "0.000005",
            "per": 1,
            "valid_from": (clock.now() - dt.timedelta(days=9)).isoformat(),
            "valid_to": None,
        },
        ratio=Decimal("-0.5"),
        library_version="1",
    )
    url = f"{PAGE}/changes/{change.public_id}"
    assert sign_in(shop, Role.VIEWER).post(url).status_code == 403
    client = sign_in(shop, Role.FINANCE)
    assert b"Approve" in client.get(PAGE, {"tab": "approvals"}).content
    client.post(url, {"approve": "yes"})
    cost_jobs.run()
    change.refresh_from_db()
    assert change.state == "approved"
    cost = sum(r.cost for r in UsageRollup.objects.all())
    assert cost == 2 * (Decimal("0.0025") + Decimal("0.005"))


def test_what_if_a_month_had_run_on_another_model(shop: Shop) -> None:
    import_library([("openai", "gpt-4o-mini")], clock.now() - LONG_AGO)
    client = sign_in(shop, Role.FINANCE)
    facts = CostFact.objects.count()
    form = {"month": f"{clock.now():%Y-%m}", "margin": "40", "target": "gpt-4o-mini"}
    asked = client.post("/analytics/migration", {**form, "model": "gpt-4o"})
    cost_jobs.run()
    page = client.get(asked.headers["Location"])
    total = page.context["total"]
    assert (total["moved"], total["unknown_before"]) == (2, 1)
    assert total["before"] == 2 * Decimal("0.0125")
    assert total["after"] == 2 * Decimal("0.00075")
    assert total["needed"] == total["after"] / Decimal("0.6")
    assert CostFact.objects.count() == facts
    rows = client.get(asked.headers["Location"] + ".csv").content.decode()
    assert "0.025,0.0015" in rows
    assert b"gpt-4o-mini" in client.get("/analytics/migration").content


def test_what_if_a_price_had_been_a_fifth_less(shop: Shop) -> None:
    client = sign_in(shop, Role.PRODUCT_MANAGER)
    form = {"month": f"{clock.now():%Y-%m}", "margin": "40", "change": "-20"}
    asked = client.post("/analytics/migration", form)
    cost_jobs.run()
    total = client.get(asked.headers["Location"]).context["total"]
    assert total["after"] == total["before"] * Decimal("0.8")


def test_a_question_that_asks_nothing_is_refused(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    form = {"month": "2026-13", "margin": "40"}
    assert client.post("/analytics/migration", form).status_code == 422
    form = {"month": f"{clock.now():%Y-%m}", "margin": "40", "target": "nothing-9"}
    answer = client.post("/analytics/migration", form)
    assert "No price of nothing-9" in answer.content.decode()


def test_nobody_sees_the_prices_of_another(shop: Shop) -> None:
    other: Client = sign_in(make_shop(), Role.FINANCE)
    add_rate(
        tenant=shop.tenant,
        provider="secret",
        model="secret-model",
        unit="requests",
        amount=Decimal(1),
        currency="USD",
        valid_from=clock.now(),
        actor=None,
    )
    assert "secret-model" not in other.get(PAGE, {"tab": "all"}).content.decode()
    assert "secret-model" not in other.get(f"{PAGE}.csv?tab=all").content.decode()
