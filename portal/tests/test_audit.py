"""The audit page, its filters, pages and CSV."""

from __future__ import annotations

import csv
import datetime as dt
import io

import pytest
from django.test import Client

from aforo.core import audit
from aforo.core.models import AuditEntry, Role, Tenant, User
from aforo.lib import clock
from portal import keyset


@pytest.fixture
def history(tenant: Tenant, olga: User, victor: User) -> list[AuditEntry]:
    """Three deeds on three days."""
    made = []
    deeds = [(olga, "plan.published"), (victor, "member.invited"), (olga, "plan.sold")]
    for day, (actor, action) in enumerate(deeds, start=1):
        with clock.travel(dt.datetime(2026, 3, day, 12, tzinfo=dt.UTC)):
            made.append(
                audit.record(
                    tenant=tenant,
                    action=action,
                    target=tenant,
                    actor=actor,
                    changes={"price": ["1.00", f"=HYPERLINK({day})"]},
                )
            )
    return made


def actions(answer) -> list[str]:
    """Return the actions on a page, in its order."""
    return [row.action for row in answer.context["page"].rows]


def test_it_shows_the_newest_first(as_olga: Client, history: list[AuditEntry]) -> None:
    answer = as_olga.get("/audit")
    assert actions(answer) == ["plan.sold", "member.invited", "plan.published"]
    assert "from </span>1.00" in answer.content.decode()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("action=plan", ["plan.sold", "plan.published"]),
        ("since=2026-03-02", ["plan.sold", "member.invited"]),
        ("until=2026-03-01", ["plan.published"]),
        ("since=2026-03-02&until=2026-03-02", ["member.invited"]),
        ("object=metering", ["plan.sold", "member.invited", "plan.published"]),
        ("object=nothing", []),
    ],
)
def test_filters_are_in_the_address(
    as_olga: Client, history: list[AuditEntry], query: str, expected: list[str]
) -> None:
    assert actions(as_olga.get(f"/audit?{query}")) == expected


def test_it_filters_by_person(
    as_olga: Client, history: list[AuditEntry], victor: User
) -> None:
    assert actions(as_olga.get(f"/audit?actor={victor.pk}")) == ["member.invited"]


def test_the_csv_has_exactly_the_filtered_rows(
    as_olga: Client, history: list[AuditEntry]
) -> None:
    answer = as_olga.get("/audit.csv?action=plan")
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row[2] for row in rows[1:]] == ["plan.sold", "plan.published"]
    assert rows[1][0].startswith("2026-03-03T12:00:00")
    assert rows[1][5] == "price: 1.00 → =HYPERLINK(3)"


def test_markup_in_a_name_stays_text(as_olga: Client, tenant: Tenant) -> None:
    audit.record(
        tenant=tenant,
        action="x",
        target=tenant,
        actor_label="<script>alert(1)</script>",
    )
    page = as_olga.get("/audit").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_an_empty_audit_and_an_empty_filter_say_different_things(
    as_olga: Client,
) -> None:
    assert "Nothing has happened yet" in as_olga.get("/audit").content.decode()
    page = as_olga.get("/audit?action=nothing").content.decode()
    assert "No entry matches" in page
    assert "Clear filters" in page


def test_another_tenant_sees_none_of_it(history: list[AuditEntry], make_member) -> None:
    other = Tenant.objects.create(name="Northwind")
    browser = Client()
    browser.force_login(make_member(Role.OWNER, "Nora", of=other))
    assert actions(browser.get("/audit")) == []
    assert "plan.sold" not in browser.get("/audit.csv").content.decode()


def test_pages_hold_every_row_once_in_both_directions(
    tenant: Tenant, olga: User, rf
) -> None:
    for number in range(7):
        audit.record(tenant=tenant, action=f"deed.{number}", target=tenant, actor=olga)
    rows = AuditEntry.objects.filter(tenant=tenant)
    seen, query, pages = [], "", []
    for _ in range(10):
        page = keyset.page(rows, rf.get(f"/?{query}").GET, size=3)
        pages.append(page)
        seen += [row.action for row in page.rows]
        query = f"after={page.after}"
        if page.after is None:
            break
    assert seen == [f"deed.{n}" for n in range(6, -1, -1)]
    back = keyset.page(rows, rf.get(f"/?before={pages[2].before}").GET, size=3)
    assert [r.pk for r in back.rows] == [r.pk for r in pages[1].rows]
    assert (pages[0].before, pages[2].after) == (None, None)


def test_a_cursor_that_is_none_means_the_first_page(
    as_olga: Client, history: list[AuditEntry]
) -> None:
    assert len(actions(as_olga.get("/audit?after=%00nonsense"))) == 3
