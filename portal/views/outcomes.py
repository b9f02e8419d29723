"""Outcomes of a plan: what real events made of them, and what came to nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from aforo.core.roles import staff_required
from aforo.lib import clock
from aforo.lib.money import CURRENCIES
from catalog.facts import outcome_words
from catalog.models import Plan, PlanVersion
from catalog.plans import newest_version
from catalog.pricing import Charge, Compound, plan_to_json
from catalog.pricing import Plan as Priced
from catalog.pricing.outcomes import Standing
from portal.pages import find
from portal.selectors import outcomes
from portal.selectors.figures import Span, month_to_date
from portal.selectors.month_usage import last_month
from portal.selectors.outcomes import LEFT_OVER, SHOWN_MAX, Outcomes
from portal.views.plans import version_of

# The counts of a rule are kept so long: a page asks again whenever it is saved.
REMEMBERED_S = 60
SPANS = (("day", "Last 24 h"), ("month", "This month"), ("before", "Last month"))
MATCHED = (Standing.MATCHED,)
SHOWS = (("open", "Not matched", LEFT_OVER), ("matched", "Matched", MATCHED))


@dataclass(frozen=True, slots=True)
class Brief:
    """What the last 24 hours made of one outcome, in a line."""

    name: str
    words: str
    event_count: int
    is_cut: bool
    url: str  # Of the page that lists them.


def _version(request: HttpRequest, plan: Plan) -> PlanVersion:
    """Return the version that the address names, else the newest; 404 without any."""
    number = request.GET.get("version", "")
    if number.isascii() and number.isdecimal() and len(number) < 10:
        return version_of(plan, int(number))
    found = newest_version(plan)
    if found is None:
        raise Http404(f"{plan} has no version yet.")
    return found


def _asked(request: HttpRequest, public_id: str) -> tuple[Plan, PlanVersion]:
    """Return the plan and the version of the address."""
    plan = find(Plan.objects.select_related("product"), "pln", public_id)
    version = _version(request, plan)
    if version.currency not in CURRENCIES:
        raise Http404(f"{version} has no currency yet.")
    return plan, version


@staff_required
@require_GET
def brief(request: HttpRequest, public_id: str) -> HttpResponse:
    """Say of each outcome how many the last 24 hours matched; with ?charge= of one."""
    plan, version = _asked(request, public_id)
    wanted = request.GET.get("charge", "")
    found = [
        _brief(plan, version, charge)
        for charge in outcomes.charges(version)
        if wanted in ("", charge.key)
    ]
    context = {"briefs": found, "is_one": bool(wanted)}
    return render(request, "portal/_outcomes_brief.html", context)


def _brief(plan: Plan, version: PlanVersion, charge: Charge) -> Brief:
    """Return the counts of an outcome, remembered for a minute by what decides them."""
    whole = plan_to_json(Priced(version.currency, (charge,)))["charges"][0]
    rule = {**whole, "name": "", "price": {**whole["price"], "price": ""}}
    text = json.dumps([str(plan.product_id), rule], sort_keys=True)
    name = f"outcomes:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    kept = cache.get(name)
    if kept is None:
        made = outcomes.last_day(charge, plan.product, version.currency)
        kept = (made.words, made.event_count, made.is_cut)
        cache.set(name, kept, REMEMBERED_S)
    url = reverse("plan-outcomes", args=[plan.public_id])
    query = urlencode([("version", str(version.number)), ("charge", charge.key)])
    words, event_count, is_cut = kept
    return Brief(charge.name, words, event_count, is_cut, f"{url}?{query}")


@staff_required
@require_GET
def page(request: HttpRequest, public_id: str) -> HttpResponse:
    """List what became of an outcome's groups: those that lack something first."""
    plan, version = _asked(request, public_id)
    charges = outcomes.charges(version)
    if not charges:
        raise Http404(f"{version} prices no outcome.")
    key = request.GET.get("charge", charges[0].key)
    charge = next((one for one in charges if one.key == key), None)
    if charge is None:
        raise Http404(f"{version} has no outcome {key}.")
    span = request.GET.get("span", "day")
    show = request.GET.get("show", "open")
    made = _made(span, charge, plan, version)
    wanted = next((kinds for name, _, kinds in SHOWS if name == show), LEFT_OVER)
    groups = made.of(*wanted)
    model = charge.model
    assert isinstance(model, Compound)
    context = {
        "plan": plan,
        "version": version,
        "charge": charge,
        "rule": outcome_words(model),
        "made": made,
        "groups": groups[:SHOWN_MAX],
        "hidden_count": max(0, len(groups) - SHOWN_MAX),
        "is_matched": wanted == MATCHED,
        "span_tabs": _tabs(request, "span", span, SPANS),
        "charge_tabs": _tabs(
            request, "charge", charge.key, [(one.key, one.name) for one in charges]
        )
        if len(charges) > 1
        else [],
        "show_tabs": [
            {**tab, "count": made.count(*kinds)}
            for tab, (_, _, kinds) in zip(
                _tabs(request, "show", show, [(n, label) for n, label, _ in SHOWS]),
                SHOWS,
                strict=True,
            )
        ],
        "back_url": f"{reverse('plan', args=[plan.public_id])}"
        f"?version={version.number}",
    }
    return render(request, "portal/outcomes.html", context)


def _made(span: str, charge: Charge, plan: Plan, version: PlanVersion) -> Outcomes:
    """Return what the events of the asked span make of an outcome."""
    now = clock.now()
    if span == "month":
        month = Span(month_to_date(now).start, now + dt.timedelta(days=1))
        return outcomes.of_month(charge, plan.product, version.currency, month)
    if span == "before":
        before = last_month(now)
        return outcomes.of_month(charge, plan.product, version.currency, before)
    return outcomes.last_day(charge, plan.product, version.currency)


def _tabs(
    request: HttpRequest, name: str, current: str, choices: Any
) -> list[dict[str, Any]]:
    """Return tabs that change one part of the address."""
    found = []
    for value, label in choices:
        query = request.GET.copy()
        query[name] = value
        is_current = value == current
        tab = {"label": label, "url": f"?{query.urlencode()}", "current": is_current}
        found.append(tab)
    return found
