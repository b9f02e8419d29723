"""Home: what came in this month, what needs somebody, what happens now.

A customer's own people find theirs at the same address: it is where sign-in leads.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aforo.core.models import Role
from aforo.core.roles import PRICING, membership, role_required
from aforo.lib import clock
from portal import live_home
from portal.context import acting_tenant
from portal.pages import days_of, may
from portal.selectors import figures, home
from portal.views import own_home

TREND_DAYS = 30


@role_required(*Role)
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show month to date, concerns and feed; to a developer, what is its customer's."""
    if membership(request).role == Role.DEVELOPER:
        return own_home.show(request)
    now = clock.now()
    seen = live_home.overview(acting_tenant(request), now)
    sample = home.sample()
    has_usage = bool(sample.events) or home.has_usage()
    days = figures.by_day(figures.last_days(now, TREND_DAYS), seen.currency)
    chart, finding = days_of({d: f.revenue for d, f in days.items()}, seen.currency)
    context = {
        "seen": seen,
        "v": {
            key.replace(".", "_"): html
            for key, html in live_home.values(seen, sample).items()
        },
        "sample": sample,
        "checks": home.checks_per_minute(now),
        "concerns": home.concerns(seen.span),
        "feed": [live_home.feed_html(row) for row in home.feed()],
        "days": chart,
        "finding": finding,
        "course": [f.revenue for f in days.values()],
        "cost_course": [f.cost for f in days.values()],
        "has_usage": has_usage,
        "steps": [] if has_usage else home.setup_steps(),
        "may_set_up": may(request, PRICING),
    }
    return render(request, "portal/home.html", context)
