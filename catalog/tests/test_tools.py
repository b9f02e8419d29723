"""Tools: one price and one history under every name that a tool ever had."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import IntegrityError, connection, transaction

from aforo.core.models import AuditEntry
from aforo.lib import clock
from aforo.lib.errors import AforoError
from catalog import registry
from catalog.models import Product, ProductType, Tool, ToolName
from catalog.products import create_product
from catalog.tools import Listed, Name
from catalog.tools import registry as make_registry
from tests.factories import make_tenant, make_user

MARCH = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
APRIL = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
TICK = dt.timedelta(microseconds=1)
TOOLS = make_registry(
    [
        Listed(
            "search",
            deprecated_at=APRIL,
            names=(
                Name("find", "", None, MARCH),
                Name("search_v2", "2", MARCH, None),
                Name("lookup", "", MARCH, APRIL),
            ),
        ),
        Listed("write"),
    ]
)


@pytest.mark.parametrize(
    ("name", "at", "tool", "version", "deprecated"),
    [
        ("search", MARCH, "search", "", False),
        ("search", APRIL, "search", "", True),
        ("find", MARCH - TICK, "search", "", False),
        ("search_v2", MARCH, "search", "2", False),
        ("lookup", APRIL - TICK, "search", "", False),
        ("write", APRIL, "write", "", False),
    ],
)
def test_a_name_leads_to_its_tool_while_it_is_valid(
    name: str, at: dt.datetime, tool: str, version: str, deprecated: bool
) -> None:
    found = TOOLS.resolve(name, at)
    assert found is not None
    assert (found.name, found.version, found.is_deprecated) == (
        tool,
        version,
        deprecated,
    )
    assert TOOLS.canonical(name, at) == tool


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("find", MARCH),
        ("search_v2", MARCH - TICK),
        ("lookup", APRIL),
        ("", MARCH),
        ("Search", MARCH),
    ],
)
def test_a_name_that_is_not_listed_then_stays_as_it_is(
    name: str, at: dt.datetime
) -> None:
    assert TOOLS.resolve(name, at) is None
    assert TOOLS.canonical(name, at) == name
    assert TOOLS.priced_as(name, at, {"search"}) == name


@pytest.mark.parametrize(
    ("_case", "name", "named", "priced"),
    [
        ("the plan names the first name", "search_v2", {"search"}, "search"),
        ("the plan names what came", "search_v2", {"search_v2"}, "search_v2"),
        ("a newer plan, an old name", "search", {"search_v2"}, "search_v2"),
        ("the newest of the others", "search", {"find", "lookup"}, "lookup"),
        ("the plan names both", "search_v2", {"search", "search_v2"}, "search_v2"),
        ("the plan names no tool", "search_v2", set(), "search"),
        ("nothing is listed", "other", {"search"}, "other"),
    ],
)
def test_a_plan_prices_a_tool_under_the_name_that_it_names(
    _case: str, name: str, named: set[str], priced: str
) -> None:
    assert TOOLS.priced_as(name, MARCH, named) == priced


@pytest.fixture
def product(db: None) -> Product:
    """An MCP server."""
    return create_product(
        tenant=make_tenant(),
        name="Travel",
        code="travel",
        type=ProductType.MCP_SERVER,
        actor=None,
    )


def test_a_rename_is_a_row_and_the_first_name_stays(product: Product) -> None:
    owner = make_user()
    tool = registry.add_tool(
        product=product, name="search", aliases=["find"], actor=owner
    )
    registry.rename_tool(tool=tool, name="look", at=MARCH, actor=owner)
    names = list(tool.names.all())
    assert registry.current_name(tool, names, MARCH) == "look"
    assert registry.current_name(tool, names, MARCH - TICK) == "search"
    tool.refresh_from_db()
    assert tool.name == "search"
    entry = AuditEntry.objects.get(action="tool.renamed")
    assert (entry.actor, entry.changes) == (owner, {"name": ["search", "look"]})


def test_a_name_leads_to_one_tool_of_a_product_for_ever(product: Product) -> None:
    tool = registry.add_tool(product=product, name="a", aliases=["b"], actor=None)
    other = registry.add_tool(product=product, name="c", actor=None)
    (row,) = tool.names.all()
    registry.end_name(row=row, actor=None)
    for name in ("a", "b", "c"):
        with pytest.raises(AforoError, match="already_exists"):
            registry.add_alias(tool=other, name=name, actor=None)
        with pytest.raises(AforoError, match="already_exists"):
            registry.add_tool(product=product, name=name, actor=None)
    with pytest.raises(AforoError, match="already_exists"):
        registry.rename_tool(tool=other, name="a", actor=None)


@pytest.mark.parametrize(
    ("start", "end"), [(None, None), (None, APRIL), (APRIL - TICK, None)]
)
def test_a_tool_has_a_name_once_at_a_time(
    product: Product, start: dt.datetime | None, end: dt.datetime | None
) -> None:
    tool = registry.add_tool(product=product, name="a", actor=None)
    registry.add_alias(
        tool=tool, name="b", valid_from=MARCH, valid_to=APRIL, actor=None
    )
    with pytest.raises(AforoError, match="already_exists"):
        registry.add_alias(
            tool=tool, name="b", valid_from=start, valid_to=end, actor=None
        )
    registry.add_alias(tool=tool, name="b", version="2", valid_from=APRIL, actor=None)
    assert tool.names.count() == 2


@pytest.mark.parametrize(
    ("name", "version", "end"),
    [("", "", None), ("x" * 121, "", None), ("x", "v" * 41, None), ("x", "", MARCH)],
)
def test_a_name_that_cannot_be_kept_is_refused(
    product: Product, name: str, version: str, end: dt.datetime | None
) -> None:
    tool = registry.add_tool(product=product, name="a", actor=None)
    with pytest.raises(AforoError, match="invalid_value"):
        registry.add_alias(
            tool=tool,
            name=name,
            version=version,
            valid_from=MARCH,
            valid_to=end,
            actor=None,
        )


def test_a_name_is_ended_once_and_not_before_it_begins(product: Product) -> None:
    tool = registry.add_tool(product=product, name="a", actor=None)
    row = registry.add_alias(tool=tool, name="b", valid_from=APRIL, actor=None)
    with clock.travel(MARCH), pytest.raises(AforoError, match="not_begun"):
        registry.end_name(row=row, actor=None)
    with clock.travel(APRIL + dt.timedelta(days=1)):
        assert registry.end_name(row=row, actor=None).valid_to is not None
        with pytest.raises(AforoError, match="already_ended"):
            registry.end_name(row=row, actor=None)


def test_deprecation_is_a_flag_that_can_be_taken_away(product: Product) -> None:
    tool = registry.add_tool(product=product, name="a", actor=None)
    for flag, action in ((True, "tool.deprecated"), (False, "tool.restored")):
        tool = registry.set_deprecated(tool=tool, deprecated=flag, actor=None)
        registry.set_deprecated(tool=tool, deprecated=flag, actor=None)
        assert (tool.deprecated_at is not None) == flag
        assert AuditEntry.objects.filter(action=action).count() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE catalog_toolname SET name = 'x'",
        "UPDATE catalog_toolname SET valid_from = now()",
        "UPDATE catalog_toolname SET valid_to = now(), name = 'x'",
        "UPDATE catalog_toolname SET valid_to = NULL",
        "DELETE FROM catalog_toolname",
        "TRUNCATE catalog_toolname",
        "UPDATE catalog_tool SET name = 'x'",
        "DELETE FROM catalog_tool",
    ],
)
def test_the_database_keeps_names_and_tools(product: Product, statement: str) -> None:
    registry.add_tool(product=product, name="a", aliases=["b"], actor=None)
    with (
        pytest.raises(IntegrityError),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SET CONSTRAINTS ALL IMMEDIATE; {statement}")
    assert (Tool.objects.get().name, ToolName.objects.get().name) == ("a", "b")
