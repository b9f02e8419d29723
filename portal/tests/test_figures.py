"""How figures are written."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.template import Context, Template

from portal.ui import charts, figures


def render(text: str, **values: object) -> str:
    """Render a template text with the tags loaded."""
    load = "{% load aforo_ui aforo_charts %}"
    return Template(load + text).render(Context(values))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("1020", "$1,020.00"),
        ("1.005", "$1.01"),
        ("0.062871", "$0.06287"),
        ("0.5", "$0.50"),
        ("0.0000025", "$0.0000025"),
        ("0.0000004", "&lt;$0.000001"),
        ("0", "$0.00"),
        ("-1420.5", "−$1,420.50"),
    ],
)
def test_an_amount_is_short_and_its_title_exact(amount: str, shown: str) -> None:
    html = render("{% money value 'USD' %}", value=Decimal(amount))
    assert f">{shown}</data>" in html
    assert f'title="{amount} USD"' in html


def test_an_unknown_amount_says_why() -> None:
    html = render("{% money None 'USD' reason=why %}", why="no <price>")
    assert 'title="no &lt;price&gt;"' in html
    assert "unknown: no &lt;price&gt;" in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [("18204", "18,204"), ("0.00001", "<0.0001"), ("-3.5", "−3.5"), ("0", "0")],
)
def test_quantities(value: str, shown: str) -> None:
    assert figures.quantity_text(Decimal(value)) == shown


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        ("0.653", "65.3 %"),
        ("-1", "−100.0 %"),
        ("0", "0.0 %"),
        ("1", "100.0 %"),
        ("-0.0001", "−0.01 %"),
        ("0.9998", "99.98 %"),
        ("0.999999", ">99.9 %"),
        ("-0.999999", "<−99.9 %"),
        ("0.000001", "<0.1 %"),
        ("-0.000001", ">−0.1 %"),
        ("1.000001", "100.0 %"),
    ],
)
def test_percentages(ratio: str, shown: str) -> None:
    assert figures.percent_text(Decimal(ratio)) == shown


def test_a_change_has_a_word_an_arrow_and_a_tone() -> None:
    html = render("{% delta value good='down' %}", value=Decimal("0.08"))
    assert "delta bad" in html
    assert "#arrow-up" in html
    assert "up </span>8.0 %" in html


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        ((2026, 3, 1), (2026, 4, 1), "1–31 Mar 2026 UTC"),
        ((2026, 3, 14), (2026, 3, 15), "14 Mar 2026 UTC"),
        ((2026, 3, 15), (2026, 4, 15), "15 Mar – 14 Apr 2026 UTC"),
        ((2025, 12, 15), (2026, 1, 15), "15 Dec 2025 – 14 Jan 2026 UTC"),
    ],
)
def test_periods(
    start: tuple[int, int, int], end: tuple[int, int, int], shown: str
) -> None:
    first, last = dt.datetime(*start, tzinfo=dt.UTC), dt.datetime(*end, tzinfo=dt.UTC)
    assert figures.period_text(first, last) == shown


def test_a_period_is_told_in_the_days_of_its_own_zone() -> None:
    first = dt.datetime(2026, 9, 30, 22, tzinfo=dt.UTC)
    last = dt.datetime(2026, 10, 31, 23, tzinfo=dt.UTC)
    shown = figures.period_text(first, last, "Europe/Amsterdam")
    assert shown == "1–31 Oct 2026 Europe/Amsterdam"


def test_a_time_is_in_utc_whatever_zone_it_came_in() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    value = dt.datetime(2026, 3, 14, 1, 30, tzinfo=zone)
    html = figures.time_html(value)
    assert 'datetime="2026-03-13T23:30:00.000Z"' in html
    assert ">13 Mar 2026, 23:30</time>" in html


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (480, "480 ms"),
        (1840, "1.8 s"),
        (123_000, "2 min 3 s"),
        (18_720_000, "5 h 12 min"),
    ],
)
def test_durations(milliseconds: int, shown: str) -> None:
    assert figures.duration_text(milliseconds) == shown


def test_charts_of_nothing_and_of_zeros_do_not_fail() -> None:
    assert charts.sparkline([], "none") == ""
    assert "<svg" in charts.sparkline([0, 0, 0], "flat")
    assert charts.columns([], "none") == ""
    assert "<rect" not in charts.columns([0, 0], "zeros")
    assert "<svg" in charts.share([0, 0], "nothing")
    assert "No limit" in render("{% gauge 'Cap' used None '0' %}", used=Decimal(0))


def test_a_bar_is_the_share_of_the_whole() -> None:
    assert 'width="25"' in charts.bar(Decimal("5"), Decimal("20"))
    assert 'width="100"' in charts.bar(Decimal("50"), Decimal("20"))


def test_labels_in_charts_are_escaped() -> None:
    rows = [{"label": "<b>", "value": Decimal(1), "text": "<i>"}]
    text = "{% bars rows title %}{% columns rows title %}{% share_bar rows title %}"
    html = render(text, rows=rows, title="<u>")
    for tag in ("<b>", "<i>", "<u>"):
        assert tag not in html
