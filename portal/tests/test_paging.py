"""Keyset paging in any order."""

from __future__ import annotations

import pytest
from django.http import QueryDict

from aforo.core.models import Tenant
from billing.models import Customer
from portal import paging

pytestmark = pytest.mark.django_db

SEGMENTS = ["b", "a", "c", "a", "b", "a", "c"]


@pytest.fixture
def seven(tenant: Tenant) -> list[Customer]:
    """Seven customers, some with the same segment."""
    return [
        Customer.objects.create(
            tenant=tenant, name=f"C{i}", segment=segment, currency="USD"
        )
        for i, segment in enumerate(SEGMENTS)
    ]


def walk(order: str, direction: str, start: str | None) -> list[list[str]]:
    """Follow the cursors of one direction and return the names of each page."""
    pages = []
    cursor = start
    while cursor is not None:
        query = QueryDict(f"{direction}={cursor}" if cursor else "")
        found = paging.page(Customer.objects.all(), order=order, query=query, size=3)
        pages.append([c.name for c in found.rows])
        cursor = getattr(found, direction)
    return pages


@pytest.mark.parametrize("order", ["segment", "-segment", "name", "-id"])
def test_every_row_comes_once_and_in_order(seven: list[Customer], order: str) -> None:
    expected = [c.name for c in paging.sort(Customer.objects.all(), order)]
    pages = walk(order, "after", "")
    assert [len(p) for p in pages] == [3, 3, 1]
    assert [name for page in pages for name in page] == expected


def test_the_way_back_shows_the_same_pages(seven: list[Customer]) -> None:
    first = paging.page(
        Customer.objects.all(), order="segment", query=QueryDict(""), size=3
    )
    second = paging.page(
        Customer.objects.all(),
        order="segment",
        query=QueryDict(f"after={first.after}"),
        size=3,
    )
    back = paging.page(
        Customer.objects.all(),
        order="segment",
        query=QueryDict(f"before={second.before}"),
        size=3,
    )
    assert first.before is None
    assert [c.pk for c in back.rows] == [c.pk for c in first.rows]
    assert back.before is None
    assert back.after is not None


@pytest.mark.parametrize(
    "cursor", ["", "x", "bm90anNvbg", "WyJhIl0", "WyJhIiwgImIiXQ", "%00", "W251bGwsMV0"]
)
def test_a_cursor_that_is_none_of_ours_starts_at_the_first_page(
    seven: list[Customer], cursor: str
) -> None:
    query = QueryDict(mutable=True)
    query["after"] = cursor
    found = paging.page(Customer.objects.all(), order="name", query=query, size=3)
    assert [c.name for c in found.rows] == ["C0", "C1", "C2"]


def test_an_unknown_sort_key_means_the_default() -> None:
    known = {"name": "name", "revenue": "sort_revenue"}
    chosen = paging.chosen_order
    assert chosen({"sort": "-name"}, known, "-revenue") == "-name"
    assert chosen({"sort": "password"}, known, "-revenue") == "-sort_revenue"
    assert chosen({}, known, "-revenue") == "-sort_revenue"
