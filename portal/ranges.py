"""The form of the analytics pages: which span, which filters, which currency."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.http import Http404, HttpRequest

from aforo.lib import clock, ids
from portal.context import acting_tenant
from portal.pages import parse_day
from portal.selectors import analytics, figures
from portal.selectors.analytics import Choice
from portal.selectors.figures import Figures, Span
from portal.ui import figures as words

PERIODS = {
    "month": "This month",
    "last": "Last month",
    "7": "Last 7 days",
    "30": "Last 30 days",
    "90": "Last 90 days",
    "custom": "From … to",
}
DAYS_MAX = 400
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of an analytics page asks for."""

    period: str
    choice: Choice
    others: dict[str, Figures]  # Other currencies of the span.
    problem: str  # What is wrong with the dates; empty when nothing is.

    @property
    def is_month(self) -> bool:
        """Whether the span is a calendar month, or one up to now."""
        return self.period in ("month", "last")

    @property
    def first_day(self) -> str:
        """The first day as a date field wants it."""
        return f"{self.choice.span.start:%Y-%m-%d}"

    @property
    def last_day(self) -> str:
        """The last day as a date field wants it."""
        return f"{self.choice.span.last_moment:%Y-%m-%d}"

    @property
    def compared(self) -> str:
        """Which days the changes compare with."""
        return f"vs {self.choice.before.days}"


def spans(query: Mapping[str, str], now: dt.datetime) -> tuple[str, Span, Span, str]:
    """Return period, span, the span before, and what is wrong with the dates."""
    period = query.get("period") or ""
    first, last = (parse_day(query.get(n) or "") for n in ("from", "to"))
    problem = ""
    if period == "custom" or (not period and (query.get("from") or query.get("to"))):
        if first and last and first <= last and (last - first).days < DAYS_MAX:
            start = dt.datetime.combine(first, dt.time(), dt.UTC)
            end = dt.datetime.combine(last, dt.time(), dt.UTC) + DAY
            return "custom", Span(start, end), Span(start - (end - start), start), ""
        problem = (
            "Give a first and a last day, the last not before the first,"
            f" at most {DAYS_MAX} days."
        )
    if period == "last":
        end = figures.month_to_date(now).start
        start = figures.month_to_date(end - DAY).start
        before = figures.month_to_date(start - DAY).start
        return period, Span(start, end), Span(before, start), problem
    if period.isdigit() and period in PERIODS:
        span = figures.last_days(now, int(period))
        back = int(period) * DAY
        return period, span, Span(span.start - back, span.end - back), problem
    span = figures.month_to_date(now)
    return "month", span, figures.same_days_before(span), problem


def ask(request: HttpRequest, *, quantity: str = "") -> Asked:
    """Return what the address asks for; an id that is none is not found."""
    query = request.GET
    period, span, before, problem = spans(query, clock.now())
    filters = {name: query[name] for name in analytics.DIMENSIONS if query.get(name)}
    for name, text in filters.items():
        if analytics.condition(name, text) is None:
            raise Http404(f"There is no {name} {text}.")
    found = analytics.currencies(span)
    asked = query.get("currency", "")
    preferred = acting_tenant(request).currency
    if asked not in found:
        asked = preferred if preferred in found or not found else next(iter(found))
    others = {code: row for code, row in found.items() if code != asked}
    choice = Choice(span, before, asked, filters, quantity)
    return Asked(period, choice, others, problem)


def strange(
    request: HttpRequest, known: Mapping[str, tuple[Collection[str], str]]
) -> list[str]:
    """Return what the address asks for by names that there are not, in words.

    `known` are, by the name in the address, the values there are and what is shown
    in place of another.
    """
    found = []
    for name, (values, shown) in known.items():
        text = request.GET.get(name, "")
        if text and text not in values:
            found.append(
                f"There is no “{text[:40]}” to show by “{name}”. Shown is {shown}."
            )
    return found


def instant(at: dt.datetime) -> str:
    """Return an instant as addresses have it."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%MZ")


def events_url(asked: Asked, **more: str) -> str:
    """Return the list of the events behind a figure of the page."""
    return _events_url(asked, asked.choice.span, more)


def before_url(asked: Asked, **more: str) -> str:
    """Return the list of the events behind a figure of the span before."""
    return _events_url(asked, asked.choice.before, more)


def _events_url(asked: Asked, span: Span, more: Mapping[str, str]) -> str:
    """Return the list of the events of a span, by the page's filters and more."""
    choice = asked.choice
    wanted = {**choice.filters, **more}
    query = {n: text for n, text in wanted.items() if text != analytics.NONE}
    if "product" in query:  # The list chooses it by its own key.
        query["product"] = str(ids.parse_public("prd", query["product"]))
    if nothing := sorted(set(wanted) - set(query)):
        query["without"] = ",".join(nothing)
    query["since"] = instant(span.start)
    query["until"] = instant(span.last_hour_end)
    query["void"] = "no"  # Figures do not count what was taken back.
    if asked.others:
        query["currency"] = choice.currency
    return f"/events?{urlencode(query)}"


@dataclass(frozen=True, slots=True)
class Behind:
    """Where the figures of a row lead, by what they count; made when they are asked.

    A page of a hundred rows shows a few of each row's.
    """

    asked: Asked
    own: Mapping[str, str] = field(default_factory=dict)  # The row's own filters.

    def __getitem__(self, name: str) -> str:
        """Return the list of the events that make a figure; KeyError: there is none."""
        more = MEANT[name] if name != "quantity" else self._quantity()
        if more is None:
            return ""
        span = self.asked.choice.before if name in BEFORE else self.asked.choice.span
        return _events_url(self.asked, span, {**self.own, **more})

    def _quantity(self) -> dict[str, str] | None:
        """Return the measurement that the page shows; None: it shows none."""
        name = self.asked.choice.quantity
        return {"measurement": name} if name else None


# What of the events of a row a figure counts.
MEANT: dict[str, dict[str, str]] = {
    "events": {},
    "before": {},
    "failed": {"outcome": "failed"},
    "unknown": {"cost": "unknown"},
    "rated": {"status": "rated"},
    "rated_before": {"status": "rated"},
    "input": {"measurement": "input_tokens"},
    "output": {"measurement": "output_tokens"},
    "cached": {"measurement": "cache_read_tokens"},
}
BEFORE = frozenset({"before", "rated_before"})


def behind(asked: Asked, **own: str) -> Behind:
    """Return where the figures of a row lead: each to the events that make it."""
    return Behind(asked, own)


def chips(request: HttpRequest, asked: Asked) -> list[dict[str, str]]:
    """Return the filters in force with the address that takes each off."""
    found = []
    for name, text in asked.choice.filters.items():
        query = request.GET.copy()
        del query[name]
        labels = dict(analytics.options(name, asked.choice.span))
        found.append(
            {
                "label": analytics.DIMENSIONS[name].label,
                "value": labels.get(text, text),
                "url": f"{request.path}?{query.urlencode()}",
            }
        )
    return found


def period_words(asked: Asked) -> str:
    """Return the span in words: 1–27 Nov 2026 UTC."""
    return words.period_text(asked.choice.span.start, asked.choice.span.end)
