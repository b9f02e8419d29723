"""The hierarchy of a customer: teams, agents, keys, caps, spend, and adding to it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from aforo.core.models import AuditEntry, Role
from billing import accounts, credentials, subscriptions
from billing.models import Agent, AgentGrant, Credential, Customer, Team
from metering import pipeline
from metering.models import UsageRollup
from portal.selectors import figures, hierarchy
from portal.tests.scene import NOW, PLAN, Scene, make_scene, sign_in
from tests.factories import make_version

pytestmark = pytest.mark.django_db
SPAN = figures.month_to_date(NOW)
BEFORE = NOW - dt.timedelta(hours=2)  # In an hour that the span covers.


def tree(scene: Scene, **query: str) -> hierarchy.Tree:
    """Return the hierarchy of the scene's customer."""
    caps = hierarchy.caps(scene.customer, NOW)
    return hierarchy.tree(scene.customer, SPAN, query, caps, {})


def page(scene: Scene, role: Role = Role.VIEWER) -> str:
    """Return the page as a person with a role sees it."""
    answer = sign_in(scene, role).get(f"{scene.path}/hierarchy")
    assert answer.status_code == 200
    return answer.content.decode()


def add_agent(team: Team, name: str) -> Agent:
    """Return a new app of a team."""
    return accounts.create_agent(team=team, name=name, kind=Agent.Kind.APP, actor=None)


def test_parts_sum_to_the_customers_figure_whoever_used_what(scene: Scene) -> None:
    legal = accounts.create_team(customer=scene.customer, name="Legal", actor=None)
    reviewer = add_agent(legal, "Reviewer")
    outsider = make_scene().shop
    # Its own agent, another team's agent, no agent, no team of this customer at all.
    scene.store({"tool_calls": 10}, at=BEFORE, agent=reviewer, team=legal)
    scene.store({"tool_calls": 20}, at=BEFORE, team=legal)
    scene.store({"tool_calls": 30}, at=BEFORE, agent=None, team=legal)
    scene.store({"tool_calls": 40}, at=BEFORE, agent=None, team=None)
    pipeline.rate()
    found = tree(scene)
    assert [node.team.name for node in found.teams] == ["Legal", "Research"]
    node = found.teams[0]
    assert node.spent == hierarchy.Spent(Decimal("0.60"), 3, 3)
    assert node.agents[0].spent == hierarchy.Spent(Decimal("0.10"), 1, 1)
    assert [(o.label, o.note, o.spent.amount) for o in node.others] == [
        ("No agent named", "its calls name no agent", Decimal("0.30")),
        ("Writer", "of team Research", Decimal("0.20")),
    ]
    assert found.elsewhere == hierarchy.Spent(Decimal("0.40"), 1, 1)
    assert found.fees == 99
    own = figures.of_customers(SPAN, [scene.customer.pk])[scene.customer.pk]["USD"]
    assert found.total == found.figure == own.revenue
    text = page(scene)
    assert "Parts = revenue" in text
    assert outsider.team.public_id not in text


def test_a_sum_that_differs_is_said(scene: Scene) -> None:
    found = tree(scene)
    wrong = hierarchy.Tree(
        found.teams, found.page, 1, found.in_teams, found.elsewhere, found.fees,
        found.figure + 1, [],
    )  # fmt: skip
    assert found.agrees
    assert not wrong.agrees


def test_keys_show_state_last_use_and_expiry(scene: Scene) -> None:
    old = scene.shop.credential
    made, _ = credentials.rotate(credential=old, overlap="24h", actor=None)
    Credential.objects.filter(pk=old.pk).update(last_used_at=NOW)
    text = page(scene)
    assert old.hint in text
    assert made.hint in text
    assert "18 Nov, 12:00" in text  # Last used.
    assert "19 Nov, 12:00" in text  # Expires.
    credentials.revoke(credential=made, actor=None, reason="")
    assert "Revoked" in page(scene)


def test_a_key_that_no_event_names_says_so_beside_its_agents_usage(
    scene: Scene,
) -> None:
    Credential.objects.update(last_used_at=None)
    assert "not named by a call or event yet" in page(scene)


def test_a_key_that_another_customer_pays_for_says_so_on_both_pages(
    scene: Scene,
) -> None:
    payer = accounts.create_customer(tenant=scene.tenant, name="Payer", actor=None)
    team = accounts.create_team(customer=payer, name="Guests", actor=None)
    AgentGrant.objects.create(
        tenant=scene.tenant,
        agent=scene.agent,
        team=team,
        customer=payer,
        valid_from=NOW - dt.timedelta(days=1),
    )
    key, _ = credentials.issue(
        agent=scene.agent, products=[], customer=payer, actor=None
    )
    assert "paid by Payer" in page(scene)
    path = f"/customers/{payer.public_id}/hierarchy"
    theirs = sign_in(scene, Role.VIEWER).get(path).content.decode()
    assert key.hint in theirs
    assert f"Writer of {scene.customer.name}" in theirs


def test_caps_of_customer_and_contracts_with_what_is_used(scene: Scene) -> None:
    assert "No spend cap" in page(scene)
    accounts.set_spend_cap(customer=scene.customer, amount=Decimal(10), actor=None)
    capped = make_version(scene.product, PLAN, {"spend_cap": "25.00"})
    subscriptions.subscribe(
        customer=scene.customer,
        product=scene.product,
        plan_version=capped,
        agent=scene.agent,
        start_at=NOW,
        actor=None,
    )
    scene.customer.refresh_from_db()
    found = hierarchy.caps(scene.customer, NOW)
    usage = scene.ledger().filter(kind="usage", occurred_at__gte=SPAN.start)
    assert [(c.label, c.limit, c.agent_id) for c in found] == [
        (scene.customer.name, Decimal(10), None),
        ("Writer", Decimal(25), scene.agent.pk),
    ]
    assert found[0].used == sum(entry.amount for entry in usage)
    assert found[1].used == 0
    assert tree(scene).teams[0].agents[0].caps == [found[1]]
    text = page(scene)
    assert "of $10.00" in text
    assert "of $25.00" in text


@pytest.mark.parametrize("role", [Role.OWNER, Role.FINANCE, Role.OPERATIONS])
def test_a_team_and_an_agent_are_added_and_audited(scene: Scene, role: Role) -> None:
    client = sign_in(scene, role)
    assert "Add team" in page(scene, role)
    done = client.post(
        f"{scene.path}/teams/new", {"name": "Legal", "external_id": "t-9"}, follow=True
    )
    assert "Team Legal is added" in done.content.decode()
    team = Team.objects.get(customer=scene.customer, name="Legal")
    assert team.external_id == "t-9"
    given = {"name": "Intake", "kind": "agent", "agent_type": "CLAUDE", "purpose": "x"}
    path = f"/teams/{team.public_id}/agents/new"
    offered = client.get(path).content.decode()
    assert '<option value="agent" selected>' in offered
    done = client.post(path, given, follow=True)
    assert "Intake is added" in done.content.decode()
    made = Agent.objects.get(team=team)
    assert (made.kind, made.agent_type, made.customer) == (
        "agent",
        "CLAUDE",
        scene.customer,
    )
    actions = set(
        AuditEntry.objects.filter(
            object_id__in=[team.public_id, made.public_id],
            actor_label=str(scene.people[str(role)]),
        ).values_list("action", flat=True)
    )
    assert actions == {"team.created", "agent.created"}
    activity = client.get(f"{scene.path}?tab=activity").content.decode()
    assert "team.created" in activity


@pytest.mark.parametrize("role", [Role.VIEWER, Role.PRODUCT_MANAGER, Role.DEVELOPER])
def test_others_are_offered_nothing_and_refused(scene: Scene, role: Role) -> None:
    client = sign_in(scene, role)
    for path in (
        f"{scene.path}/teams/new",
        f"/teams/{scene.shop.team.public_id}/agents/new",
    ):
        assert client.get(path).status_code == 403
        assert client.post(path, {"name": "x", "kind": "app"}).status_code == 403
    if role != Role.DEVELOPER:
        text = page(scene, role)
        for deed in ("/teams/", "/agents/", "/credentials/"):
            assert f'href="{deed}' not in text


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "Research"}, "name"),
        ({"name": "New", "external_id": "taken"}, "external_id"),
    ],
)
def test_a_team_that_cannot_be_is_refused_next_to_its_field(
    scene: Scene, given: dict[str, str], field: str
) -> None:
    Team.objects.filter(pk=scene.shop.team.pk).update(external_id="taken")
    client = sign_in(scene, Role.OPERATIONS)
    answer = client.post(f"{scene.path}/teams/new", given)
    assert answer.status_code == 422
    assert f"id_{field}_error" in answer.content.decode()
    assert Team.objects.filter(customer=scene.customer).count() == 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": "Writer"}, "name"),
        ({"kind": "robot"}, "kind"),
        ({"kind": ""}, "kind"),
        ({"agent_type": "HAL"}, "agent_type"),
    ],
)
def test_an_agent_that_cannot_be_is_refused_next_to_its_field(
    scene: Scene, changed: dict[str, str], field: str
) -> None:
    given = {"name": "New", "kind": "app", "agent_type": "CUSTOM", **changed}
    client = sign_in(scene, Role.OPERATIONS)
    answer = client.post(f"/teams/{scene.shop.team.public_id}/agents/new", given)
    assert answer.status_code == 422
    assert f"id_{field}_error" in answer.content.decode()
    assert Agent.objects.filter(customer=scene.customer).count() == 1


def test_what_is_another_tenants_or_nobodys_is_not_found(scene: Scene) -> None:
    other = make_scene()
    client = sign_in(scene, Role.OWNER)
    for path in (
        f"{other.path}/hierarchy",
        f"{other.path}/teams/new",
        f"/teams/{other.shop.team.public_id}/agents/new",
        "/customers/cus_zzz/hierarchy",
        "/teams/tem_zzz/agents/new",
    ):
        assert client.get(path).status_code == 404
        assert client.post(path, {"name": "x"}).status_code in (404, 405)
    assert Team.objects.filter(customer=other.customer).count() == 1


def test_the_tab_of_before_leads_here(scene: Scene) -> None:
    answer = sign_in(scene, Role.VIEWER).get(f"{scene.path}?tab=keys")
    assert answer["Location"] == reverse("hierarchy", args=[scene.customer.public_id])


def test_without_teams_the_page_says_how_a_call_finds_its_team(scene: Scene) -> None:
    quiet = accounts.create_customer(tenant=scene.tenant, name="Quiet", actor=None)
    path = f"/customers/{quiet.public_id}/hierarchy"
    for role, offered in ((Role.OPERATIONS, True), (Role.VIEWER, False)):
        text = sign_in(scene, role).get(path).content.decode()
        assert "No teams yet" in text
        assert "How a call finds its team" in text
        assert (f"{quiet.public_id}/teams/new" in text) is offered


def test_teams_are_paged_and_the_total_is_of_all(scene: Scene) -> None:
    for n in range(hierarchy.TEAMS_MAX + 1):
        team = accounts.create_team(
            customer=scene.customer, name=f"T{n:02}", actor=None
        )
        scene.store({"tool_calls": 1}, at=BEFORE, agent=None, team=team)
    pipeline.rate()
    first = tree(scene)
    assert len(first.teams) == hierarchy.TEAMS_MAX
    assert first.page.after is not None
    second = tree(scene, after=first.page.after)
    assert [n.team.name for n in second.teams] == ["T19", "T20"]
    assert first.total == second.total
    assert second.agrees
    client = sign_in(scene, Role.VIEWER)
    for query in ({"after": first.page.after}, {"after": "nonsense"}):
        assert client.get(f"{scene.path}/hierarchy", query).status_code == 200


def test_long_teams_and_many_keys_are_cut_with_a_way_to_all(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hierarchy, "AGENTS_MAX", 1)
    monkeypatch.setattr(hierarchy, "KEYS_MAX", 2)
    for n in range(2):
        credentials.issue(agent=scene.agent, products=[], actor=None, name=f"k{n}")
    other = add_agent(scene.shop.team, "Zed")
    scene.store({"tool_calls": 7}, at=BEFORE, agent=other)
    pipeline.rate()
    node = tree(scene).teams[0]
    assert (node.agents_hidden, node.agents[0].keys_hidden) == (1, 1)
    assert [(o.label, o.note) for o in node.others] == [("Zed", "not listed above")]
    text = page(scene)
    client = sign_in(scene, Role.VIEWER)
    for path, count in (
        (f"/admin/billing/agent/?team__id__exact={node.team.pk}", 2),
        (f"/admin/billing/credential/?agent__id__exact={scene.agent.pk}", 3),
    ):
        assert path in text
        assert client.get(path).context["cl"].result_count == count


def grow(customer: Customer, count: int) -> None:
    """Add teams, each with two agents with two keys."""
    for n in range(count):
        team = accounts.create_team(customer=customer, name=f"G{n}", actor=None)
        for kind in ("one", "two"):
            agent = add_agent(team, kind)
            for _ in range(2):
                credentials.issue(agent=agent, products=[], actor=None)


def test_the_page_takes_a_bounded_number_of_statements(
    scene: Scene, django_assert_max_num_queries: Any
) -> None:
    client = sign_in(scene, Role.OWNER)
    client.get(f"{scene.path}/hierarchy")
    grow(scene.customer, 8)
    UsageRollup.objects.create(
        tenant=scene.tenant,
        customer=scene.customer,
        hour=NOW - dt.timedelta(hours=2),
        agent_id=scene.agent.pk,
        team_id=Team.objects.get(name="G0").pk,
        event_type="lent",
        currency="USD",
        revenue=Decimal(1),
        event_count=1,
    )
    with django_assert_max_num_queries(42):
        found = client.get(f"{scene.path}/hierarchy")
    assert len(found.context["tree"].teams) == 9
