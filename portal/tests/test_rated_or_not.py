"""A dash where nothing was rated, $0.00 at a price of 0, one wording of margins."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from decimal import Decimal

import pytest
from django.test import Client

from aforo.core.models import Role
from billing import accounts
from billing.models import Agent, Customer, UsageTotal
from catalog import registry
from metering import pipeline, rollup_proof, unrateable, voiding
from metering.models import Unrateable, UsageEvent, UsageRollup
from portal.selectors.figures import Figures
from portal.tests.scene import MODEL, NOW, Scene, sign_in
from portal.ui import figures as words

pytestmark = pytest.mark.django_db
NO_PRICE = "nothing is rated: no event has a price yet"
UNUSED = "nothing is rated: nothing was used"
HOUR = dt.timedelta(hours=1)


def row(client: Client, path: str, label: str) -> str:
    """Return the row of a page that begins with a label and says what is charged."""
    answer = client.get(path)
    assert answer.status_code == 200, path
    rows = re.findall(r"<tr>.*?</tr>", answer.content.decode(), re.DOTALL)
    head = rf'<th scope="row"[^>]*>.*?{label}.*?</th>'
    named = [r for r in rows if re.search(head, r, re.DOTALL)]
    # The margin guard has agents too, each with its scope below the name.
    named = [r for r in named if not re.search(r">agent</span></th>", r, re.I)]
    assert len(named) == 1, (path, label, len(named))
    return named[0]


def make_agent(customer: Customer, name: str) -> Agent:
    """Return a new agent of a customer."""
    team = accounts.create_team(customer=customer, name=f"Team {name}", actor=None)
    kind = Agent.Kind.APP
    return accounts.create_agent(team=team, name=name, kind=kind, actor=None)


def use(scene: Scene, agent: Agent, measurement: str, **more: object) -> UsageEvent:
    """Store a call of a new model and tool, by an agent of the customer."""
    return scene.store(
        {measurement: 1},
        at=NOW - HOUR,
        agent=agent,
        team=agent.team,
        credential=None,
        **{"properties": {"model": f"model-{measurement}"}} | more,
    )


@pytest.fixture
def mixed(scene: Scene) -> Scene:
    """An agent whose usage has no price, and one whose usage costs nothing."""
    unrated = make_agent(scene.customer, "Unrated")
    free = make_agent(scene.customer, "Free")
    scene.define_metric("pages")
    use(scene, unrated, "mystery")
    use(scene, unrated, "mystery", event_type="mcp.tool_invoked", tool_name="oracle")
    use(scene, free, "pages")
    use(scene, free, "pages", event_type="mcp.tool_invoked", tool_name="gift")
    pipeline.rate()
    assert Unrateable.objects.filter(resolved_at=None).count() == 2
    return scene


@pytest.mark.parametrize("page", ["usage", "cogs"])
@pytest.mark.parametrize(
    ("by", "without", "free"),
    [
        ("agent", "Unrated", "Free"),
        ("model", "model-mystery", "model-pages"),
        ("tool", "oracle", "gift"),
    ],
)
def test_analytics_show_a_dash_only_where_nothing_is_rated(
    mixed: Scene, page: str, by: str, without: str, free: str
) -> None:
    client = sign_in(mixed, Role.OWNER)
    path = f"/analytics/{page}?by={by}"
    unpriced, gratis = row(client, path, without), row(client, path, free)
    assert NO_PRICE in unpriced
    assert "$0.00" not in unpriced
    assert NO_PRICE not in gratis
    assert "$0.00" in gratis
    # The sum of all has rated usage in it.
    foot = client.get(path).content.decode().split("<tfoot>")[1]
    assert NO_PRICE not in foot.split("</tfoot>")[0]


def test_the_csv_leaves_unrated_revenue_empty(mixed: Scene) -> None:
    client = sign_in(mixed, Role.OWNER)
    for page in ("usage", "cogs"):
        text = client.get(f"/analytics/{page}.csv?by=agent").content.decode()
        found = {r["name"]: r["revenue"] for r in csv.DictReader(io.StringIO(text))}
        assert found["Unrated"] == ""
        assert Decimal(found["Free"]) == 0
        assert Decimal(found["Writer"]) > 0


def test_the_pages_of_a_customer_and_its_agents(mixed: Scene) -> None:
    client = sign_in(mixed, Role.OWNER)
    assert NO_PRICE in row(client, mixed.path, "Unrated")
    free = row(client, mixed.path, "Free")
    assert "$0.00" in free
    assert NO_PRICE not in free
    tree = client.get(f"{mixed.path}/hierarchy").content.decode()
    of_unrated = tree.split("<h2>Team Unrated</h2>")[1].split("<h2>")[0]
    assert of_unrated.count(f'title="{NO_PRICE}"') == 2  # Team and agent.
    of_free = tree.split("<h2>Team Free</h2>")[1].split("<h2>")[0]
    assert NO_PRICE not in of_free
    assert "$0.00" in of_free
    own = sign_in(mixed, Role.DEVELOPER)
    assert "nothing has a price yet" in row(own, "/", "Unrated")
    assert "$0.00" in row(own, "/", "Free")


def test_a_customer_that_has_no_contract(scene: Scene) -> None:
    lone = accounts.create_customer(tenant=scene.tenant, name="Lone", actor=None)
    accounts.create_customer(tenant=scene.tenant, name="Idle", actor=None)
    agent = make_agent(lone, "Solo")
    event = use(scene, agent, "input_tokens", customer=lone)
    pipeline.rate()
    client = sign_in(scene, Role.OWNER)
    assert NO_PRICE in row(client, "/customers", "Lone")
    assert UNUSED in row(client, "/customers", "Idle")
    page = client.get(f"/customers/{lone.public_id}").content.decode()
    kpis = page.split('<dl class="kpis">')[1].split("</dl>")[0]
    assert NO_PRICE in kpis
    text = client.get("/customers.csv").content.decode()
    sums = {r["name"]: r["revenue_mtd"] for r in csv.DictReader(io.StringIO(text))}
    assert sums["Lone"] == sums["Idle"] == ""
    assert Decimal(sums[scene.customer.name]) > 0
    voiding.void(event, reason="not theirs")
    assert UNUSED in row(client, "/customers", "Lone")


def test_the_tools_of_a_product(mixed: Scene) -> None:
    registry.add_tool(product=mixed.product, name="gift", actor=None)
    client = sign_in(mixed, Role.OWNER)
    path = f"/products/{mixed.product.public_id}?tab=tools"
    assert NO_PRICE in row(client, path, "oracle")
    assert NO_PRICE not in row(client, path, "gift")


def test_home_of_a_month_without_rated_usage(mixed: Scene) -> None:
    client = sign_in(mixed, Role.OWNER)
    assert NO_PRICE not in client.get("/").content.decode()
    unrated = Agent.objects.get(name="Unrated")
    UsageRollup.objects.exclude(agent_id=unrated.pk).delete()
    UsageTotal.objects.all().delete()
    assert NO_PRICE in client.get("/").content.decode()


def test_the_count_follows_a_replay_and_a_void(mixed: Scene) -> None:
    def rated() -> int:
        agent = Agent.objects.get(name="Unrated")
        rows = UsageRollup.objects.filter(agent_id=agent.pk)
        return sum(rows.values_list("rated_count", flat=True))

    assert rated() == 0
    mixed.define_metric("mystery")
    listed = list(Unrateable.objects.values_list("pk", flat=True))
    assert unrateable.replay(listed, actor=None) == (2, 0)
    assert rated() == 2
    assert list(rollup_proof.sums_equal_facts()) == []
    event = UsageEvent.objects.get(agent__name="Unrated", tool_name="oracle")
    voiding.void(event, reason="doubled")
    assert rated() == 1
    assert list(rollup_proof.sums_equal_facts()) == []


def test_a_wrong_count_is_found_by_the_proof(mixed: Scene) -> None:
    row = UsageRollup.objects.filter(tool_name="oracle").get()
    UsageRollup.objects.filter(pk=row.pk).update(rated_count=1)
    (told,) = rollup_proof.sums_equal_facts()
    assert told.endswith("the ledger has None of 0 events, the hourly sums 0E-12 of 1")


PAGES = (
    "/",
    "/customers",
    "/products",
    "/plans",
    "/analytics/cogs",
    "/analytics/cogs?by=customer",
    "/analytics/cogs?by=product",
)


def test_every_page_words_the_margin_alike(scene: Scene) -> None:
    event = scene.events().filter(body__properties__model="unpriced-model").first()
    assert event is not None
    client = sign_in(scene, Role.OWNER)
    paths = (
        *PAGES,
        scene.path,
        f"/products/{scene.product.public_id}",
        f"/plans/{scene.version.plan.public_id}",
    )
    told = '<span title="the cost of 1 event is not known">at most <data class="qty"'
    for path in paths:
        assert told in client.get(path).content.decode(), path
    # One whose costs are all known is told plainly.
    only = f"/analytics/cogs?model={MODEL}"
    assert "at most <data" not in client.get(only).content.decode()


def test_a_margin_says_at_most_only_where_a_cost_is_missing() -> None:
    def told(**sums: int) -> str:
        return words.margin_of(Figures("USD", Decimal(10), Decimal(4), 5, **sums))

    assert told(rated_count=5) == '<data class="qty" value="0.6">60.0 %</data>'
    assert "at most" in told(rated_count=5, unknown_count=1)
    assert "cost of 1,200 events is" in words.margin(Decimal("0.5"), 1_200)
    assert "at most" not in told(rated_count=5, unknown_count=5)
    assert "cost rates are missing" in told(rated_count=5, unknown_count=5)


def test_figures_know_whether_anything_was_rated() -> None:
    none, free = Figures("USD", event_count=2), Figures("USD", rated_count=2)
    assert none.known_revenue is None
    assert free.known_revenue == 0
    assert (none.margin, none.margin_ratio) == (None, None)
    assert none.why_no_revenue == none.why_unknown == NO_PRICE
    assert free.why_unknown == "no revenue yet"
    # A fee is revenue without any event.
    assert (none + Figures("USD", Decimal(9))).known_revenue == 9
    assert (none + free).known_revenue == 0
