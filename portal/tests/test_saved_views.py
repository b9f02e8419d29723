"""Saved views of the usage page: kept, opened, shared, renamed, deleted, refused."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role
from metering import pipeline
from metering.models import SavedView
from portal.tests.test_model_prices import sign_in
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db

USAGE = "/analytics/usage"
VIEWS = "/analytics/views"


@pytest.fixture
def shop() -> Shop:
    """A shop with some usage."""
    shop = make_shop()
    store_event(shop, {"input_tokens": 1_000}, properties={"model": "gpt-4o"})
    pipeline.rate()
    return shop


def saved(client: Client, name: str, query: str = "by=model", **form: str) -> SavedView:
    """Save a view and return it."""
    answer = client.post(f"{VIEWS}/new?{query}", {"name": name, **form})
    assert answer.status_code == 302, answer.context["form"].errors
    return SavedView.objects.order_by("-pk")[0]


def test_a_view_keeps_the_filters_and_nothing_else(shop: Shop) -> None:
    client = sign_in(shop, Role.PRODUCT_MANAGER)
    customer = shop.customer.public_id
    query = f"period=30&by=model&customer={customer}&after=x&nonsense=1&chart="
    page = client.get(f"{USAGE}?{query}")
    assert f"{VIEWS}/new?period=30&amp;by=model&amp;customer={customer}" in (
        page.content.decode()
    )
    asked = client.get(f"{VIEWS}/new?{query}").content.decode()
    assert "Period: Last 30 days, Break down by: Model, Customer: " in asked
    view = saved(client, "  Big   models ", query)
    assert view.name == "Big models"
    assert view.query == f"period=30&by=model&customer={customer}"
    opened = client.get(f"{VIEWS}/{view.public_id}")
    assert opened["Location"] == f"{USAGE}?{view.query}&view={view.public_id}"
    page = client.get(opened["Location"])
    assert "view Big models</span>" in page.content.decode()
    other = client.get(opened["Location"].replace("period=30", "period=7"))
    assert "view Big models, changed" in other.content.decode()
    entry = AuditEntry.objects.get(action="view.saved")
    assert entry.changes["filters"] == [None, view.query]


@pytest.mark.parametrize(
    ("query", "kept", "words"),
    [
        # The form sends its dates with any period; only their own heeds them.
        (
            "period=30&from=2026-10-01&to=2026-10-07&by=model",
            "period=30&by=model",
            "Period: Last 30 days, Break down by: Model.",
        ),
        (
            "period=custom&from=2026-10-01&to=2026-10-07&by=model",
            "period=custom&from=2026-10-01&to=2026-10-07&by=model",
            "Period: 1–7 Oct 2026 UTC, Break down by: Model.",
        ),
        (
            "from=2026-09-30&to=2026-10-07",
            "from=2026-09-30&to=2026-10-07",
            "Period: 30 Sep – 7 Oct 2026 UTC.",
        ),
    ],
)
def test_a_period_and_dates_are_told_as_the_page_heeds_them(
    shop: Shop, query: str, kept: str, words: str
) -> None:
    client = sign_in(shop, Role.OWNER)
    assert f">{words}<" in client.get(f"{VIEWS}/new?{query}").content.decode()
    view = saved(client, "Span", query)
    assert view.query == kept
    shown = client.get(f"{USAGE}?{query}").context["asked"].choice.span
    page = client.get(client.get(f"{VIEWS}/{view.public_id}")["Location"])
    assert page.context["asked"].choice.span.start.date() == shown.start.date()
    assert not page.context["view_changed"]
    # A view that was kept with idle dates reads the same.
    SavedView.objects.update(query=query)
    assert words.rstrip(".") in client.get(VIEWS).content.decode()
    page = client.get(client.get(f"{VIEWS}/{view.public_id}")["Location"])
    assert page.context["asked"].choice.span.start.date() == shown.start.date()


def test_dates_that_are_no_span_are_left_out_and_said(shop: Shop) -> None:
    client = sign_in(shop, Role.OWNER)
    query = "period=custom&from=2026-10-07&to=2026-10-01&by=model"
    view = saved(client, "Backwards", query)
    opened = client.get(f"{VIEWS}/{view.public_id}")
    assert opened["Location"] == f"{USAGE}?by=model&view={view.public_id}"
    page = client.get(opened["Location"])
    assert page.context["view_lost"] == ["Period from 2026-10-07 to 2026-10-01"]


def test_own_views_are_ones_own_and_shared_ones_are_everybodys(shop: Shop) -> None:
    tom, ana = (sign_in(shop, Role.PRODUCT_MANAGER) for _ in range(2))
    own, shared = saved(tom, "Mine"), saved(tom, "Ours", shared="on")
    assert "Mine" in tom.get(VIEWS).content.decode()
    page = ana.get(VIEWS).content.decode()
    assert "Ours" in page
    assert "Mine" not in page
    assert ana.get(f"{VIEWS}/{shared.public_id}").status_code == 302
    for path in ("", "/rename", "/delete"):
        assert ana.get(f"{VIEWS}/{own.public_id}{path}").status_code == 404
    for path in ("/rename", "/delete"):
        assert ana.get(f"{VIEWS}/{shared.public_id}{path}").status_code == 403
    stranger = sign_in(make_shop(), Role.OWNER)
    assert stranger.get(f"{VIEWS}/{shared.public_id}").status_code == 404
    assert "Ours" not in stranger.get(VIEWS).content.decode()


def test_the_owner_of_the_tenant_tidies_shared_views_up(shop: Shop) -> None:
    shared = saved(sign_in(shop, Role.FINANCE), "Left over", shared="on")
    owner = sign_in(shop, Role.OWNER)
    form = {"name": "Kept", "shared": "on"}
    owner.post(f"{VIEWS}/{shared.public_id}/rename", form)
    assert SavedView.objects.get().name == "Kept"
    owner.post(f"{VIEWS}/{shared.public_id}/delete")
    assert not SavedView.objects.exists()
    actions = AuditEntry.objects.filter(action__startswith="view.")
    assert list(actions.order_by("pk").values_list("action", flat=True)) == [
        "view.saved",
        "view.changed",
        "view.deleted",
    ]


def test_a_viewer_keeps_views_for_themselves(shop: Shop) -> None:
    viewer = sign_in(shop, Role.VIEWER)
    page = viewer.get(f"{VIEWS}/new?by=model").content.decode()
    assert "Viewers keep views for themselves" in page
    assert not saved(viewer, "Quiet", shared="on").shared


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "Give the view a name."),
        ("ours", "A view of yours is called ours already"),
        ("OURS", "A view of yours is called OURS already"),
        ("x" * 81, "at most 80 characters"),
    ],
)
def test_a_name_that_cannot_be_is_refused(shop: Shop, name: str, said: str) -> None:
    client = sign_in(shop, Role.OWNER)
    saved(client, "Ours")
    answer = client.post(f"{VIEWS}/new?by=tool", {"name": name})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert SavedView.objects.count() == 1


def test_a_shared_name_is_taken_for_everybody_and_an_own_one_is_not(
    shop: Shop,
) -> None:
    tom, ana = (sign_in(shop, Role.FINANCE) for _ in range(2))
    saved(tom, "Month", shared="on")
    answer = ana.post(f"{VIEWS}/new?by=tool", {"name": "month", "shared": "on"})
    assert "A shared view is called month already" in answer.content.decode()
    mine = saved(ana, "month")
    shared = {"name": "month", "shared": "on"}
    answer = ana.post(f"{VIEWS}/{mine.public_id}/rename", shared)
    assert answer.status_code == 422


def test_what_is_no_longer_there_is_left_out_and_said(shop: Shop) -> None:
    client = sign_in(shop, Role.OWNER)
    view = saved(client, "Old", "period=30&by=model&agent=agt_gone&currency=USD")
    gone = make_shop().customer.public_id
    SavedView.objects.update(
        query=f"period=60&by=planet&customer={gone}&measure=events&old=1&model=gpt-4o"
    )
    opened = client.get(f"{VIEWS}/{view.public_id}")
    assert opened["Location"] == (
        f"{USAGE}?measure=events&model=gpt-4o&view={view.public_id}"
    )
    page = client.get(opened["Location"])
    assert page.status_code == 200
    assert page.context["view_lost"] == [
        "Period 60",
        "Break down by planet",
        f"Customer {gone}",
        "old 1",
    ]
    assert "Part of this view is gone" in page.content.decode()
    assert "Left out" in client.get(VIEWS).content.decode()


def test_a_view_that_is_gone_says_so_and_the_page_stays(shop: Shop) -> None:
    client = sign_in(shop, Role.OWNER)
    for name in ("viw_nothing", "x", "\0"):
        page = client.get(USAGE, {"view": name, "by": "model"})
        assert page.status_code == 200
        assert "is gone, or is not yours to see" in page.content.decode()
    assert client.get(f"{VIEWS}/viw_nothing").status_code == 404


def test_a_list_without_views_says_how_to_save_one(shop: Shop) -> None:
    client = sign_in(shop, Role.VIEWER)
    assert "No saved views yet" in client.get(VIEWS).content.decode()
    assert Client().get(VIEWS).status_code == 302


def test_the_list_takes_the_same_statements_however_long(
    shop: Shop, django_assert_max_num_queries: Any
) -> None:
    client = sign_in(shop, Role.OWNER)
    for number in range(12):
        saved(client, f"View {number}", f"customer={shop.customer.public_id}")
    client.get(VIEWS)
    with django_assert_max_num_queries(15):
        client.get(VIEWS)
