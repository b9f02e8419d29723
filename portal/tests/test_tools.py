"""The tools of a product: found in traffic, registered, named otherwise."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aforo.core.models import AuditEntry, Role
from billing.models import LedgerEntry
from catalog import registry
from catalog.models import Tool, ToolName
from metering import pipeline
from portal.tests.scene import Scene, event_path, sign_in
from tests.factories import make_shop

pytestmark = pytest.mark.django_db


def tab(scene: Scene) -> str:
    """Return the address of the tools' tab."""
    return f"/products/{scene.product.public_id}?tab=tools"


def listed(scene: Scene, name: str = "search") -> Tool:
    """Register a tool of the scene's product."""
    return registry.add_tool(product=scene.product, name=name, actor=None)


def test_a_tool_found_in_traffic_is_registered(scene: Scene) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    page = client.get(tab(scene))
    ((name, traffic),) = page.context["unlisted"]
    assert (name, traffic.figures.event_count, traffic.error_count) == ("search", 6, 1)
    assert "No tool is registered" in page.content.decode()
    path = f"/products/{scene.product.public_id}/tools/new"
    assert 'value="search"' in client.get(path, {"name": "search"}).content.decode()
    made = client.post(path, {"name": "search", "aliases": "find, , look,find"})
    assert made["Location"] == tab(scene)
    (row,) = client.get(tab(scene)).context["listed"]
    assert sorted(n.name for n in row.names) == ["find", "look"]
    assert row.traffic[0].figures.event_count == 6
    assert client.get(tab(scene)).context["unlisted"] == []
    entry = AuditEntry.objects.get(action="tool.added")
    assert entry.actor == scene.people[Role.PRODUCT_MANAGER]


def test_the_page_of_an_event_says_whether_its_tool_is_registered(
    scene: Scene,
) -> None:
    calls = [
        scene.store({"tool_calls": 1}, event_type="mcp.tool_invoked", tool_name=name)
        for name in ("search", "no_such_tool")
    ]
    pipeline.rate()
    client = sign_in(scene, Role.VIEWER)
    known, stranger = (
        LedgerEntry.objects.get(event_id=event.pk).amount for event in calls
    )
    # As docs/events.md says: a tool that nobody knows is charged as any other.
    assert known == stranger == Decimal("0.01")
    path = event_path(calls[1])
    text = client.get(path).content.decode()
    assert f'<a href="{tab(scene)}">not registered</a>' in text
    tool = listed(scene)
    assert ">registered</span>" in client.get(event_path(calls[0])).content.decode()
    registry.add_alias(tool=tool, name="no_such_tool", actor=None)
    text = client.get(path).content.decode()
    assert 'registered as <span class="mono">search</span>' in text
    assert client.get(path).context["tool"].is_deprecated is False
    registry.set_deprecated(tool=tool, deprecated=True, actor=None)
    assert client.get(path).context["tool"].is_deprecated is False
    later = scene.store(
        {"tool_calls": 1}, event_type="mcp.tool_invoked", tool_name="search"
    )
    assert "Deprecated" in client.get(event_path(later)).content.decode()
    plain = scene.events().filter(tool_name="")[0]
    assert client.get(event_path(plain)).context["tool"] is None


def test_calls_under_every_name_stand_with_the_tool(scene: Scene) -> None:
    tool = listed(scene)
    scene.store({"tool_calls": 1}, tool_name="find", properties={"tool": "find"})
    pipeline.rate()  # Before the name is known.
    client = sign_in(scene, Role.OWNER)
    client.post(f"/tools/{tool.public_id}/alias", {"name": "find", "version": "2"})
    scene.store({"tool_calls": 1}, tool_name="find", properties={"tool": "find"})
    pipeline.rate()
    page = client.get(tab(scene))
    (row,) = page.context["listed"]
    assert row.traffic[0].figures.event_count == 8
    assert page.context["unlisted"] == []
    assert '<span class="tag">2</span>' in page.content.decode()


def test_a_tool_is_renamed_deprecated_and_restored(scene: Scene) -> None:
    tool = listed(scene)
    client = sign_in(scene, Role.OWNER)
    path = f"/tools/{tool.public_id}"
    asked = client.get(f"{path}/rename").content.decode()
    assert "Price and history stay" in asked
    assert client.post(f"{path}/rename", {"name": "look"}).status_code == 302
    assert client.get(f"{path}/deprecate").status_code == 200
    client.post(f"{path}/deprecate")
    text = client.get(tab(scene)).content.decode()
    for words in ("kept under", "Deprecated", "priced as before", "Restore"):
        assert words in text
    client.get(f"{path}/restore")
    client.post(f"{path}/restore")
    assert Tool.objects.get().deprecated_at is None
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"tool.renamed", "tool.deprecated", "tool.restored"} <= actions


def test_a_name_is_ended(scene: Scene) -> None:
    tool = listed(scene)
    row = registry.add_alias(tool=tool, name="find", actor=None)
    client = sign_in(scene, Role.OWNER)
    path = f"/tools/names/{row.public_id}/end"
    assert "No other tool can have the name" in client.get(path).content.decode()
    client.post(path)
    assert ToolName.objects.get().valid_to is not None
    again = client.post(path, follow=True)
    assert "already" in again.content.decode()
    assert AuditEntry.objects.filter(action="tool.name_ended").count() == 1


@pytest.mark.parametrize(
    ("deed", "posted", "field", "said"),
    [
        ("alias", {"name": ""}, "name", "required"),
        ("alias", {"name": "search"}, "name", "search is taken."),
        ("alias", {"name": "x" * 121}, "name", "120"),
        ("alias", {"name": "a\x00"}, "name", "Null characters"),
        ("alias", {"name": "a", "version": "v" * 41}, "version", "40"),
        ("alias", {"name": "a", "valid_from": "soon"}, "valid_from", "valid date"),
        (
            "alias",
            {"name": "a", "valid_from": "2026-03-02", "valid_to": "2026-03-01"},
            "valid_to",
            "after the start",
        ),
        ("rename", {"name": ""}, "name", "required"),
        ("rename", {"name": "other"}, "name", "other is taken."),
        ("rename", {"name": "a", "at": "x"}, "at", "valid date"),
    ],
)
def test_a_refused_name_keeps_what_was_typed(
    scene: Scene, deed: str, posted: dict[str, str], field: str, said: str
) -> None:
    tool = listed(scene)
    listed(scene, "other")
    answer = sign_in(scene, Role.OWNER).post(f"/tools/{tool.public_id}/{deed}", posted)
    assert answer.status_code == 422
    assert said in " ".join(answer.context["form"].errors[field])
    assert not ToolName.objects.exists()


@pytest.mark.parametrize(
    ("posted", "said"),
    [
        ({"name": ""}, "required"),
        ({"name": "search"}, "search is taken."),
        ({"name": "new", "aliases": "search"}, "search is taken."),
        ({"name": "new", "aliases": "y" * 121}, "120"),
    ],
)
def test_a_refused_tool_is_not_registered(
    scene: Scene, posted: dict[str, str], said: str
) -> None:
    listed(scene)
    path = f"/products/{scene.product.public_id}/tools/new"
    answer = sign_in(scene, Role.OWNER).post(path, posted)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert Tool.objects.count() == 1


@pytest.mark.parametrize("role", [Role.VIEWER, Role.FINANCE, Role.OPERATIONS])
def test_only_owner_and_product_manager_change_tools(scene: Scene, role: Role) -> None:
    tool = listed(scene)
    row = registry.add_alias(tool=tool, name="find", actor=None)
    client = sign_in(scene, role)
    text = client.get(tab(scene)).content.decode()
    assert "Register tool" not in text
    assert "Rename" not in text
    deeds = [f"/tools/{tool.public_id}/{deed}" for deed in DEEDS]
    deeds.append(f"/tools/names/{row.public_id}/end")
    deeds.append(f"/products/{scene.product.public_id}/tools/new")
    for path in deeds:
        assert client.get(path).status_code == 403
        assert client.post(path, {"name": "x"}).status_code == 403


DEEDS = ("alias", "rename", "deprecate", "restore")


def test_another_tenants_tools_are_not_found(scene: Scene) -> None:
    other = make_shop()
    tool = registry.add_tool(
        product=other.product, name="theirs", aliases=["also"], actor=None
    )
    client = sign_in(scene, Role.OWNER)
    paths = [f"/tools/{tool.public_id}/{deed}" for deed in DEEDS]
    paths.append(f"/tools/names/{tool.names.get().public_id}/end")
    paths.append(f"/products/{other.product.public_id}/tools/new")
    for path in paths:
        assert client.get(path).status_code == 404
        assert client.post(path, {"name": "x"}).status_code == 404
    assert tool.names.count() == 1
