"""Six MCP servers that move data, each sold at a flat price and by tool."""

from __future__ import annotations

from collections.abc import Mapping

from aforo.demo.specs import (
    FILES,
    WAREHOUSE,
    PlanSpec,
    ProductSpec,
    charge,
    each,
    limits,
)
from catalog.models import ProductType

_WRITES = ["write_file", "write_table"]


def _flat_calls(name: str) -> PlanSpec:
    """Return a plan with one price for every call of a connector."""
    return PlanSpec(
        f"{name}, flat",
        [charge("calls", f"{name} calls", "tool_calls", each("0.001"))],
        limits(6_000, default_estimate="0.001", estimate={"tool_calls": "0.001"}),
    )


def _calls_by_tool(name: str) -> PlanSpec:
    """Return a plan with a price for each kind of tool of a connector."""
    return PlanSpec(
        f"{name}, by tool",
        [
            charge("calls", f"{name} calls", "tool_calls", each("0.005")),
            charge(
                "analyze",
                "Schema analyses",
                "tool_calls",
                each("0.10"),
                tool="analyze_schema",
            ),
            charge(
                "transform",
                "Data transformations",
                "tool_calls",
                each("0.25"),
                tool="transform_data",
            ),
            charge("write", "Writes", "tool_calls", each("0.05"), tool=_WRITES),
            charge("send", "Reports", "tool_calls", each("0.02"), tool="send_report"),
        ],
        # Fast enough for the agent that runs away; its customer's cap stops it. What
        # costs so much per call is not let through while the guard is out.
        limits(
            60_000,
            default_estimate="0.25",
            estimate={"tool_calls": "0.25"},
            on_outage="closed",
        ),
    )


def _committed_calls(name: str) -> PlanSpec:
    """Return a plan with so many calls paid as the month begins; agents can share."""
    calls = {
        "key": "calls",
        "name": f"{name} calls, committed",
        "unit": "calls",
        "price": {
            "model": "dimensions",
            "billing_mode": "COMMITTED",
            "committed_amount": 1_000,
            "committed_price": "10",
            "tool_invocations": {"*": "0.01"},
        },
    }
    return PlanSpec(
        f"{name}, committed",
        [calls],
        limits(6_000, default_estimate="0.01", estimate={"tool_calls": "0.01"}),
    )


def _connector(
    name: str,
    description: str,
    tools: Mapping[str, str],
    **others: PlanSpec,
) -> ProductSpec:
    """Return an MCP server with its flat plan, its plan by tool and others."""
    code = name.split()[0].lower()
    plans = {f"{code}-flat": _flat_calls(name), f"{code}-by-tool": _calls_by_tool(name)}
    plans |= {f"{code}-{kind}": plan for kind, plan in others.items()}
    return ProductSpec(name, ProductType.MCP_SERVER, description, plans, tools)


CONNECTORS: Mapping[str, ProductSpec] = {
    "crm-mcp": _connector(
        "CRM MCP",
        "Accounts and contacts of a CRM.",
        {"list_accounts": "0.0002", "read_contacts": "0.0002"},
    ),
    "erp-mcp": _connector(
        "ERP MCP",
        "Orders and invoices of an ERP.",
        {"read_orders": "0.0003", "read_invoices": "0.0003"},
    ),
    WAREHOUSE: _connector(
        "Warehouse MCP",
        "Tables of a data warehouse, and transformations of them.",
        {"read_table": "0.0008", "transform_data": "0.09", "write_table": "0.004"},
    ),
    "schema-mcp": _connector(
        "Schema MCP",
        "Analysis and validation of schemas.",
        {"analyze_schema": "0.02", "validate_schema": "0.0005"},
    ),
    FILES: _connector(
        "Files MCP",
        "Files in object storage.",
        {"read_file": "0.0001", "write_file": "0.0004"},
        committed=_committed_calls("Files MCP"),
    ),
    "mail-mcp": _connector("Mail MCP", "Reports by e-mail.", {"send_report": "0.0011"}),
}
