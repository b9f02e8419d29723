"""The bodies of the catalog API: read by them, and described by them in OpenAPI."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from catalog.models import Metric, ProductType
from catalog.pricing.parsing import MODELS

Schema = dict[str, Any]


def text(longest: int, meaning: str = "") -> Schema:
    """Return a text; who keeps it checks its length."""
    return {"type": "string", "maxLength": longest, "description": meaning}


def body(title: str, required: str, **properties: Schema) -> Schema:
    """Return an object without other members."""
    return {
        "title": title,
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


def changes(schema: Schema, title: str, **more: Schema) -> Schema:
    """Return an object of which every member may be left out."""
    return body(title, "", **(schema["properties"] | more))


FLAG: Schema = {"type": "boolean"}
SECONDS: Schema = {"type": "integer", "minimum": 0}
LIST: Schema = {"type": "array", "items": {"type": "string"}}
CODE = text(60, "Yours; it stays.")
DESCRIPTION = {"type": "string"}

PRODUCT = body(
    "Product",
    "code name type",
    code=CODE,
    name=text(120),
    type={"type": "string", "enum": list(ProductType.values)},
    description=DESCRIPTION,
    features=LIST,
    self_reporting={**FLAG, "description": "Callers may report usage themselves."},
)
PRODUCT_CHANGES = changes(
    PRODUCT,
    "Changes of a product",
    session_idle_s=SECONDS,
    session_expire_s=SECONDS,
    implicit_sessions={
        **FLAG,
        "description": "Tool calls that name no session join the one that their"
        " credential is running, or begin one.",
    },
    max_call_s=SECONDS,
)
METRIC = body(
    "Metric",
    "code name aggregation unit",
    code=CODE,
    name=text(120),
    description=DESCRIPTION,
    aggregation={"type": "string", "enum": list(Metric.Aggregation.values)},
    field=text(80, "A measurement, for `unique` a property, or `cogs`."),
    event_types={**LIST, "description": "Empty: every type."},
    window={
        "type": "string",
        "enum": list(Metric.Window.values),
        "default": "period",
        "description": "What is aggregated and priced by itself; in UTC.",
    },
    unit=text(40, "One of it, such as `token`."),
    integer_only={**FLAG, "description": "A fraction is refused."},
)
METRIC_CHANGES = changes(METRIC, "Changes of a metric")
PLAN = body(
    "Plan",
    "code name product",
    code=CODE,
    name=text(120),
    description=DESCRIPTION,
    product=text(60, "Its id or code."),
)
PLAN_CHANGES = body(
    "Changes of a plan", "", code=CODE, name=text(120), description=DESCRIPTION
)
DRAFT = body(
    "Draft",
    "currency charges",
    currency=text(3, "ISO 4217."),
    charges={
        "type": "array",
        "items": {"type": "object"},
        "description": "As plan JSON writes them; `metric` may be a metric's code. "
        f"`price.model` is one of {', '.join(MODELS)}. "
        "Outcomes may have `confirm`, `reverse` and `cost_budget`.",
    },
    currencies={
        "type": "object",
        "description": "Prices in further currencies, by ISO 4217 code: `charges` holds"
        " `price` (and `minimum`, `maximum`) of every charge by its key.",
        "additionalProperties": {
            "type": "object",
            "required": ["charges"],
            "properties": {
                "charges": {
                    "type": "object",
                    "additionalProperties": {"type": "object"},
                }
            },
            "additionalProperties": False,
        },
    },
    levels={
        "type": "array",
        "items": {"type": "object"},
        "description": "Spend levels, lowest first: `key`, `name`, and `spend_from` or"
        " `credits_from`; `limits_multiplier` multiplies limits a minute.",
    },
    minimum=text(40, "Minimum spend of a period."),
    maximum=text(40, "Maximum spend of a period."),
    discounts={
        "type": "array",
        "items": {"type": "object"},
        "description": "`name`, `percent` or `amount`, `charges`, `from` and `until`.",
    },
    limits={"type": "object", "description": "The guard's defaults."},
    prorate={**FLAG, "description": "Fixed amounts go by the days of a period."},
)

TIME: Schema = {"type": ["string", "null"], "format": "date-time"}


def shown(schema: Schema, **more: Schema) -> Schema:
    """Return what an answer holds of a row."""
    properties = {"id": {"type": "string"}, **schema["properties"], **more}
    return {
        "title": schema["title"],
        "type": "object",
        "required": list(properties),
        "properties": {**properties, "created_at": TIME},
    }


PRODUCT_SHOWN = shown(
    PRODUCT,
    session_idle_s=SECONDS,
    session_expire_s=SECONDS,
    implicit_sessions=FLAG,
    max_call_s=SECONDS,
)
METRIC_SHOWN = shown(METRIC)
PLAN_SHOWN = shown(PLAN)
VERSION_SHOWN = shown(
    {**DRAFT, "title": "Plan version"},
    minimum={"type": ["string", "null"]},
    maximum={"type": ["string", "null"]},
    plan={"type": "string"},
    number={"type": "integer"},
    state={"type": "string", "enum": ["draft", "published", "retired"]},
    summary={"type": ["string", "null"], "description": "In words; null for a draft."},
    published_at=TIME,
)


def listed(schema: Schema) -> Schema:
    """Return a page of rows."""
    return {
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": schema},
            "next": {"type": ["string", "null"], "description": "For `?after=`."},
        },
    }


PROBLEM: Schema = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "retry_after": {"type": "integer"},
    },
}
ALWAYS = {
    400: "Malformed: `code` says how, `field` where.",
    401: "No service key, or one that is not valid. Customers' credentials are not.",
    403: "The service key lacks the scope.",
}
FOUND = {404: "Nothing has this id or code."}
WRITTEN = {
    409: "Another request with this key is being answered, or the state forbids it.",
    413: "The body is too large.",
    415: "The body is not JSON in UTF-8.",
    422: "Well-formed and refused, in the words of the pages.",
}
ONCE = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Sent again with the same body, the first answer returns.",
)
PAGING = [
    OpenApiParameter("limit", int, description="From 1 to 100; 50 unless said."),
    OpenApiParameter("after", str, description="The `next` of the page before."),
]
NEWEST_FIRST = "The newest first: `?limit=` rows (1 to 100), then `?after=` the `next`."
CALLERS = "Needs a service key with the scope `{scope}`."


def told(
    operation: str,
    summary: str,
    text: str,
    answer: Schema,
    *,
    status: int = 200,
    request: Schema | None = None,
    found: bool = False,
    parameters: tuple[OpenApiParameter, ...] = (),
    example: Any = None,
    answered: Any = None,
) -> dict[str, Any]:
    """Return what @extend_schema says of an operation; bodies come with an example."""
    is_read = operation.endswith(("_list", "_retrieve"))
    refusals = ALWAYS | (FOUND if found else {}) | ({} if is_read else WRITTEN)
    scope = CALLERS.format(scope="catalog:read" if is_read else "catalog:write")
    examples = [
        OpenApiExample(
            "Answer", answered, response_only=True, status_codes=[str(status)]
        )
    ]
    if request is not None:
        examples.append(OpenApiExample("Request", example, request_only=True))
    if operation.endswith("_list"):
        parameters = (*PAGING, *parameters)
        text = f"{text} {NEWEST_FIRST}"
    return {
        "operation_id": operation,
        "tags": ["catalog"],
        "summary": summary,
        "description": f"{text} {scope}",
        "request": {"application/json": request} if request is not None else None,
        "parameters": [*parameters, *([] if is_read else [ONCE])],
        "responses": {
            status: OpenApiResponse(
                answer, description="Done." if not is_read else "It."
            ),
            **{
                code: OpenApiResponse(PROBLEM, description=words)
                for code, words in refusals.items()
            },
        },
        "examples": examples,
    }
