"""Every figure of the analytics pages leads to what is behind it; tables have a CSV."""

from __future__ import annotations

import re

import pytest
from django.utils.html import strip_tags

from aforo.core.models import Role
from portal.tests.scene import Scene, sign_in

pytestmark = pytest.mark.django_db

USAGE, COGS, PRICES = "/analytics/usage", "/analytics/cogs", "/settings/model-prices"
# Shares of change have no rows of their own: what changed stands beside them.
CHANGES = ("up ", "down ", "unchanged", "nothing before")


def figures(page: str) -> list[str]:
    """Return the cells of tables of figures, without those of charts."""
    tables = re.findall(r'aria-label="(?:Usage|Cost) by [^d].*?</table>', page, re.S)
    rows = [row for table in tables for row in re.findall(r"<tr.*?</tr>", table, re.S)]
    return [c for row in rows for c in re.findall(r'<td class="num">.*?</td>', row)]


@pytest.mark.parametrize(
    "path",
    [
        USAGE,
        f"{USAGE}?by=model&measure=m:latency_ms",
        f"{USAGE}?by=metric",
        f"{COGS}?by=model",
        f"{COGS}?by=tool",
    ],
)
def test_every_figure_leads_to_a_page(scene: Scene, path: str) -> None:
    client = sign_in(scene, Role.FINANCE)
    cells = figures(client.get(path).content.decode())
    assert cells
    bare = [
        text
        for cell in cells
        if "href=" not in cell
        and re.search(r"[1-9]", text := strip_tags(cell).strip())
        and not any(word in cell for word in CHANGES)
    ]
    assert bare == []
    links = {
        url for cell in cells for url in re.findall(r'<a [^>]*href="([^"]+)"', cell)
    }
    for url in links:
        answer = client.get(url.replace("&amp;", "&") if url[0] == "/" else path)
        assert answer.status_code == 200, url


def test_a_revenue_leads_to_the_events_that_make_it(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    page = client.get(f"{USAGE}?by=product")
    (entry,) = page.context["listed"]
    rows = client.get(entry["at"]["rated"]).context["rows"]
    now = entry["row"].now
    # The recurring fee is no event's; usage is summed from events alone.
    assert sum(row.event.amount for row in rows) == now.revenue
    before = client.get(entry["at"]["before"]).context["rows"]
    assert len(before) == entry["row"].before.events


@pytest.mark.parametrize(
    ("path", "head"),
    [
        (f"{COGS}/anomalies.csv", "event_id,time_utc,kind"),
        (f"{COGS}/reported.csv", "provider,model,currency"),
        (f"{PRICES}.csv?tab=gaps", "model,tool,event_type"),
        (f"{PRICES}.csv?tab=changes", "created_utc,provider,model"),
        (f"{PRICES}.csv?tab=approvals", "created_utc,provider,model"),
        (f"{PRICES}.csv?tab=corrections", "created_utc,title,state"),
    ],
)
def test_every_table_has_a_csv(scene: Scene, path: str, head: str) -> None:
    answer = sign_in(scene, Role.FINANCE).get(path)
    assert answer["Content-Type"].startswith("text/csv")
    assert answer.content.decode().startswith(head)


def test_what_has_no_price_leads_to_its_events(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    gaps = client.get(PRICES, {"tab": "gaps"}).context["gaps"]
    assert gaps
    for gap in gaps:
        rows = client.get(gap.events_url).context["rows"]
        assert len(rows) == gap.calls
