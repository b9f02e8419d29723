"""Who is in the demo: an invented seller, its people, and its customers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aforo.core.models import Role
from aforo.demo.connectors import CONNECTORS
from aforo.demo.contract_plans import reviewed
from aforo.demo.specs import (
    AIRLINE,
    CODE,
    CONTRACT,
    CONVERSATION,
    FILES,
    SEARCH,
    WAREHOUSE,
)
from billing.models import Agent

AgentType = Agent.AgentType
# For a look around on one's own machine; whoever opens the server changes it.
PASSWORD = "aforo-demo-2026"  # noqa: S105 - printed at every start

SELLER: Mapping[str, object] = {
    "name": "Meridian AI",
    "legal_name": "Meridian AI B.V.",
    "address": "Keizersgracht 900\n1017 EK Amsterdam\nNetherlands",
    "tax_id": "NL 0000.00.000.B01",
    "email": "billing@meridian.example",
    "currency": "USD",
    "timezone": "UTC",
    "tax_label": "VAT",
    "tax_rate": Decimal(21),
    "invoice_prefix": "MER",
}
STAFF: Mapping[str, tuple[Role, str]] = {
    "owner@meridian.example": (Role.OWNER, "Ines Vermeer"),
    "product@meridian.example": (Role.PRODUCT_MANAGER, "Tom Achterberg"),
    "finance@meridian.example": (Role.FINANCE, "Saskia de Wit"),
    "operations@meridian.example": (Role.OPERATIONS, "Juno Bakker"),
    "viewer@meridian.example": (Role.VIEWER, "Pim Visser"),
}
ACCOUNT_MANAGER = "owner@meridian.example"


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An app or agent: its team, what it is built with, what it may use."""

    name: str
    team: str
    products: tuple[str, ...]
    kind: AgentType = AgentType.CUSTOM
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class AllocationSpec:
    """An agent's own contract: its part of a commitment."""

    product: str
    plan: str
    calls: int
    price: str


@dataclass(frozen=True, slots=True)
class CustomerSpec:
    """A customer with its agents (by external id) and plans (by product code)."""

    name: str
    legal_name: str
    address: str
    country: str
    segment: str
    timezone: str
    agents: Mapping[str, AgentSpec]
    plans: Mapping[str, str]
    tax_id: str = ""
    # None: the seller's own rate. Abroad the tax is not the seller's to collect.
    tax_rate: Decimal | None = None
    credit: tuple[Decimal, ...] = field(default=())
    spend_cap: Decimal | None = None
    currency: str = "USD"
    # Own prices by product and charge, and contracts of its agents by external id.
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    allocations: Mapping[str, AllocationSpec] = field(default_factory=dict)
    developer: str = ""  # E-mail of one of its people who signs in.


ABROAD = Decimal(0)
FLAT = {code: f"{code.removesuffix('-mcp')}-flat" for code in CONNECTORS}
BY_TOOL = {code: f"{code.removesuffix('-mcp')}-by-tool" for code in CONNECTORS}
EVERY_CONNECTOR = tuple(CONNECTORS)
CONVERSATION_PRO = {CONVERSATION: "conversation-pro"}
AIRLINE_SUPPORT = {AIRLINE: "airline-support"}
CODE_TEAM = {CODE: "code-team"}

# By external id: what events name.
CUSTOMERS: Mapping[str, CustomerSpec] = {
    "halden": CustomerSpec(
        "Halden Bank",
        "Halden Bank N.V.",
        "Maliebaan 45\n3581 CD Utrecht\nNetherlands",
        "NL",
        "enterprise",
        "Europe/Amsterdam",
        {
            "halden-advisor": AgentSpec(
                "Advisor", "Retail banking", (CONVERSATION,), AgentType.GPT
            ),
            "halden-helpdesk": AgentSpec(
                "Helpdesk", "IT service", (CONVERSATION,), AgentType.LANGCHAIN
            ),
        },
        CONVERSATION_PRO,
        tax_id="NL 0000.00.001.B01",
        developer="dev@halden.example",
    ),
    "brightwater": CustomerSpec(
        "Brightwater Health",
        "Brightwater Health Ltd",
        "8 Harbour Row\nBristol BS1 4RW\nUnited Kingdom",
        "GB",
        "enterprise",
        "Europe/London",
        {
            "brightwater-intake": AgentSpec(
                "Intake", "Patient services", (CONVERSATION,), AgentType.CLAUDE
            ),
            "brightwater-scheduling": AgentSpec(
                "Scheduling", "Clinics", (CONVERSATION,), AgentType.GPT
            ),
        },
        CONVERSATION_PRO,
        tax_id="GB 000 0000 01",
        tax_rate=ABROAD,
    ),
    "solera": CustomerSpec(
        "Solera Travel",
        "Solera Viajes S.L.",
        "Calle de Alcalá 300\n28027 Madrid\nSpain",
        "ES",
        "mid-market",
        "Europe/Madrid",
        {
            "solera-concierge": AgentSpec(
                "Concierge", "Guest experience", (CONVERSATION,), AgentType.CREWAI
            )
        },
        {CONVERSATION: "conversation-prepaid"},
        tax_id="ES B00000001",
        tax_rate=ABROAD,
        credit=(Decimal(150), Decimal(250)),
    ),
    "kestrel": CustomerSpec(
        "Kestrel Airways",
        "Kestrel Airways DAC",
        "2 Cloghran Avenue\nDublin K67 X4F3\nIreland",
        "IE",
        "enterprise",
        "Europe/Dublin",
        {
            "kestrel-rebooking": AgentSpec(
                "Rebooking", "Customer care", (AIRLINE,), AgentType.GPT
            ),
            "kestrel-refunds": AgentSpec(
                "Refunds", "Customer care", (AIRLINE,), AgentType.GPT
            ),
        },
        AIRLINE_SUPPORT,
        tax_id="IE 0000001A",
        tax_rate=ABROAD,
        developer="dev@kestrel.example",
    ),
    "aurora": CustomerSpec(
        "Aurora Regional",
        "Aurora Regional Oy",
        "Lentäjäntie 9\n01530 Vantaa\nFinland",
        "FI",
        "mid-market",
        "Europe/Helsinki",
        {
            "aurora-desk": AgentSpec(
                "Service desk", "Operations", (AIRLINE,), AgentType.CLAUDE
            )
        },
        AIRLINE_SUPPORT,
        tax_id="FI 00000001",
        tax_rate=ABROAD,
    ),
    "ferrum": CustomerSpec(
        "Ferrum Robotics",
        "Ferrum Robotics B.V.",
        "Achtseweg Zuid 200\n5651 GW Eindhoven\nNetherlands",
        "NL",
        "mid-market",
        "Europe/Amsterdam",
        {
            "ferrum-editors": AgentSpec("Editors", "Firmware", (CODE,)),
            "ferrum-ci": AgentSpec("CI assistant", "Platform", (CODE,)),
        },
        CODE_TEAM,
        tax_id="NL 0000.00.002.B01",
    ),
    "quillstack": CustomerSpec(
        "Quillstack",
        "Quillstack, Inc.",
        "410 Mission Street, Suite 12\nSan Francisco, CA 94105\nUnited States",
        "US",
        "startup",
        "America/Los_Angeles",
        {
            "quillstack-editor": AgentSpec("Editor plug-in", "Product", (CODE,)),
            "quillstack-search": AgentSpec("Site search", "Growth", (SEARCH,)),
        },
        {**CODE_TEAM, SEARCH: "search-standard"},
        tax_rate=ABROAD,
    ),
    "lumen": CustomerSpec(
        "Lumen Games",
        "Lumen Games B.V.",
        "Coolsingel 99\n3012 AG Rotterdam\nNetherlands",
        "NL",
        "startup",
        "Europe/Amsterdam",
        {"lumen-scripts": AgentSpec("Script helper", "Studio A", (CODE,))},
        CODE_TEAM,
        tax_id="NL 0000.00.003.B01",
    ),
    "umbra": CustomerSpec(
        "Umbra Retail",
        "Umbra Retail B.V.",
        "Stationsplein 4\n3511 ED Utrecht\nNetherlands",
        "NL",
        "mid-market",
        "Europe/Amsterdam",
        {
            "umbra-pipeline": AgentSpec(
                "Data pipeline", "Analytics", EVERY_CONNECTOR, AgentType.LANGCHAIN
            ),
            "umbra-shop": AgentSpec("Shop search", "Web shop", (SEARCH,)),
        },
        {**FLAT, SEARCH: "search-standard"},
        tax_id="NL 0000.00.004.B01",
    ),
    "delphi": CustomerSpec(
        "Delphi Insurance",
        "Delphi Verzekeringen N.V.",
        "Lange Voorhout 70\n2514 EH Den Haag\nNetherlands",
        "NL",
        "enterprise",
        "Europe/Amsterdam",
        {
            "delphi-pipeline": AgentSpec(
                "Claims pipeline", "Claims", EVERY_CONNECTOR, AgentType.AUTOGEN
            )
        },
        BY_TOOL,
        tax_id="NL 0000.00.005.B01",
    ),
    "castor": CustomerSpec(
        "Castor Logistics",
        "Castor Logistics B.V.",
        "Waalhaven 12\n3088 HH Rotterdam\nNetherlands",
        "NL",
        "mid-market",
        # In UTC, so that the weekend of the agent that ran away is one everywhere.
        "UTC",
        {
            "castor-transformer": AgentSpec(
                "Transformer", "Data office", (WAREHOUSE,), AgentType.CREWAI
            )
        },
        {WAREHOUSE: "warehouse-by-tool"},
        tax_id="NL 0000.00.006.B01",
        spend_cap=Decimal(2_500),
    ),
    "paragon": CustomerSpec(
        "Paragon Property",
        "Paragon Property, LLC",
        "77 Water Street, Floor 8\nNew York, NY 10005\nUnited States",
        "US",
        "enterprise",
        "America/New_York",
        {
            "paragon-leases": AgentSpec(
                "Lease review", "Legal", (CONTRACT,), AgentType.CLAUDE
            ),
            "paragon-deals": AgentSpec(
                "Deal room", "Acquisitions", (CONTRACT,), AgentType.LANGCHAIN
            ),
        },
        {CONTRACT: "contract-growth"},
        tax_rate=ABROAD,
        own={CONTRACT: {"reviewed": {"price": reviewed("0.75")}}},
    ),
    "falkner": CustomerSpec(
        "Falkner Legal",
        "Falkner Rechtsanwälte PartG mbB",
        "Schillerstraße 40\n60313 Frankfurt am Main\nGermany",
        "DE",
        "mid-market",
        "Europe/Berlin",
        {
            "falkner-review": AgentSpec(
                "Review desk", "Corporate", (CONTRACT,), AgentType.GPT
            )
        },
        {CONTRACT: "contract-growth"},
        tax_id="DE 000000001",
        tax_rate=ABROAD,
        currency="EUR",
    ),
    "vantage": CustomerSpec(
        "Vantage Procurement",
        "Vantage Procurement B.V.",
        "Herengracht 20\n2511 EH Den Haag\nNetherlands",
        "NL",
        "mid-market",
        "Europe/Amsterdam",
        {
            "vantage-reviewer": AgentSpec("Reviewer", "Purchasing", (CONTRACT, FILES)),
            "vantage-intake": AgentSpec("Intake", "Purchasing", (CONTRACT, FILES)),
            "vantage-sandbox": AgentSpec("Sandbox", "Innovation", (FILES,)),
        },
        {CONTRACT: "contract-credits"},
        tax_id="NL 0000.00.007.B01",
        allocations={
            "vantage-reviewer": AllocationSpec(FILES, "files-committed", 300, "3"),
            "vantage-intake": AllocationSpec(FILES, "files-committed", 500, "5"),
            "vantage-sandbox": AllocationSpec(FILES, "files-committed", 200, "2"),
        },
    ),
}
