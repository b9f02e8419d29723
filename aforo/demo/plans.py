"""What the demo sells: products of every type, prices, and what it all costs."""

from __future__ import annotations

from collections.abc import Mapping

from aforo.demo.connectors import CONNECTORS
from aforo.demo.contract_plans import CONTRACT_REVIEW
from aforo.demo.specs import (
    AIRLINE,
    CODE,
    CONTRACT,
    CONVERSATION,
    DOC_PARSED,
    MILLION,
    REOPENED,
    SEARCH,
    SEARCH_EVENT,
    SESSION_DONE,
    STORAGE_EVENT,
    TOKEN_ESTIMATE,
    VECTORS_SEARCHED,
    PlanSpec,
    ProductSpec,
    charge,
    each,
    fee,
    limits,
    tiers,
)
from catalog.models import ProductType

SEARCH_PLAN = PlanSpec(
    "Search Standard",
    [
        fee("Search platform", "29"),
        charge(
            "searches",
            "Searches",
            "search_requests",
            {
                "model": "included",
                "units": "50",
                "overage": tiers("graduated", 1_000, ("1000", "4.00"), (None, "3.00")),
            },
        ),
    ],
    limits(3_000, default_estimate="0.004", estimate={"requests": "0.004"}),
)
CODE_PLAN = PlanSpec(
    "Code Team",
    [
        fee("Code completion seats", "49"),
        charge(
            "input",
            "Context tokens",
            "input",
            tiers(
                "volume",
                MILLION,
                ("2000000", "3.00"),
                ("10000000", "2.50"),
                (None, "2.00"),
            ),
        ),
        charge("output", "Generated tokens", "output", each("4.00", MILLION)),
        charge(
            "artifacts",
            "Artifact storage, per started MB",
            "stored_bytes",
            {"model": "package", "size": "1000000", "amount": "0.02"},
        ),
    ],
    limits(12_000, 60_000_000, estimate=TOKEN_ESTIMATE, default_estimate="0.02"),
)
_CONVERSATION_USE = [
    charge(
        "input",
        "Input tokens",
        "uncached_input",
        tiers(
            "graduated",
            MILLION,
            ("10000000", "4.00"),
            ("50000000", "3.50"),
            (None, "3.20"),
        ),
    ),
    charge(
        "input-mini",
        "Input tokens, small model",
        "uncached_input",
        each("0.30", MILLION),
        model="gpt-4o-mini",
    ),
    charge("cached", "Input tokens from cache", "cached_input", each("1.60", MILLION)),
    charge(
        "cached-mini",
        "Input tokens from cache, small model",
        "cached_input",
        each("0.12", MILLION),
        model="gpt-4o-mini",
    ),
    charge("output", "Output tokens", "output", each("14.00", MILLION)),
    charge(
        "output-mini",
        "Output tokens, small model",
        "output",
        each("1.20", MILLION),
        model="gpt-4o-mini",
    ),
]
CONVERSATION_PLAN = PlanSpec(
    "Conversation Pro",
    [
        fee("Conversation platform", "90"),
        *_CONVERSATION_USE,
        charge(
            "priority",
            "Priority handling, 2.5 % of inference cost, at least $0.50",
            "inference_cost",
            {"model": "percentage", "rate": "2.5", "minimum": "0.50"},
            requestType="priority",
        ),
    ],
    limits(12_000, 120_000_000, estimate=TOKEN_ESTIMATE, default_estimate="0.05"),
)
PREPAID_PLAN = PlanSpec(
    "Conversation Prepaid",
    _CONVERSATION_USE,
    limits(
        12_000,
        120_000_000,
        estimate=TOKEN_ESTIMATE,
        default_estimate="0.05",
        wallet_required=True,
    ),
)
_BOOKINGS = [
    "book_reservation",
    "cancel_reservation",
    "send_certificate",
    "update_reservation_baggages",
    "update_reservation_flights",
    "update_reservation_passengers",
]
AIRLINE_PLAN = PlanSpec(
    "Airline Support",
    [
        fee("Airline support server", "75"),
        charge(
            "lookups",
            "Tool calls",
            "tool_calls",
            {"model": "included", "units": "100", "overage": each("0.02")},
        ),
        charge(
            "bookings",
            "Changes of bookings",
            "tool_calls",
            each("0.25"),
            tool=_BOOKINGS,
        ),
        charge(
            "smart-search",
            "SmartSearch queries",
            "tool_calls",
            each("0.05"),
            tool="SmartSearch.query",
        ),
        charge("resolved", "Resolved conversations", "resolutions", each("0.99")),
        charge("input", "Input tokens", "input", each("4.00", MILLION)),
        charge(
            "input-mini",
            "Input tokens, small model",
            "input",
            each("0.30", MILLION),
            model="gpt-4o-mini",
        ),
        charge("output", "Output tokens", "output", each("14.00", MILLION)),
        charge(
            "output-mini",
            "Output tokens, small model",
            "output",
            each("1.20", MILLION),
            model="gpt-4o-mini",
        ),
    ],
    limits(
        12_000,
        60_000_000,
        estimate={**TOKEN_ESTIMATE, "tool_calls": "0.25"},
        default_estimate="0.25",
        quotas=[{"metric": "tool_calls", "limit": 100_000, "on_exceed": "bill"}],
    ),
)
PRODUCTS: Mapping[str, ProductSpec] = {
    SEARCH: ProductSpec(
        "Search API",
        ProductType.STANDARD_API,
        "Full-text and vector search behind one endpoint.",
        {"search-standard": SEARCH_PLAN},
    ),
    CODE: ProductSpec(
        "Code Completion",
        ProductType.AGENTIC_API,
        "Completions for editors, with storage for build artifacts.",
        {"code-team": CODE_PLAN},
    ),
    CONVERSATION: ProductSpec(
        "Conversation Agent",
        ProductType.AI_AGENT,
        "An agent that talks to customers and remembers what was said.",
        {"conversation-pro": CONVERSATION_PLAN, "conversation-prepaid": PREPAID_PLAN},
    ),
    AIRLINE: ProductSpec(
        "Airline Support MCP",
        ProductType.MCP_SERVER,
        "Tools for airline support: search, book, change, refund.",
        {"airline-support": AIRLINE_PLAN},
        {
            "SmartSearch.query": "0.008",
            "book_reservation": "0.03",
            "calculate": "0.0001",
            "cancel_reservation": "0.012",
            "get_reservation_details": "0.002",
            "get_user_details": "0.0015",
            "list_all_airports": "0.0005",
            "search_direct_flight": "0.006",
            "search_onestop_flight": "0.009",
            "send_certificate": "0.01",
            "think": "0.0001",
            "transfer_to_human_agents": "0.05",
            "update_reservation_baggages": "0.012",
            "update_reservation_flights": "0.02",
            "update_reservation_passengers": "0.012",
        },
    ),
    CONTRACT: CONTRACT_REVIEW,
    **CONNECTORS,
}

# Models whose costs come from the public price list, as (provider, model).
TOGETHER_LLAMA = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
GROQ_LLAMA = "llama-3.3-70b-versatile"
MODELS = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("together", TOGETHER_LLAMA),
    ("groq", GROQ_LLAMA),
    ("anthropic", "claude-haiku-4-5"),
    ("google", "gemini-2.5-flash"),
)
# What a contract makes of the last one, per million tokens, from mid-month on.
CONTRACT_PRICE: Mapping[str, str] = {
    "input_uncached_tokens": "0.52",
    "output_tokens": "0.71",
}
# What is neither a model nor a tool, by event type; the end of a session is free, and
# so is what is only said.
EVENT_COSTS: Mapping[str, str] = {
    SEARCH_EVENT: "0.0011",
    STORAGE_EVENT: "0.000005",
    SESSION_DONE: "0",
    "session.failed": "0",
    DOC_PARSED: "0.06",
    VECTORS_SEARCHED: "0.002",
    REOPENED: "0",
}
