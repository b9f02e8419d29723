"""What a caller asks of /v1/check: the body, parsed strictly, into a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

import msgspec

from aforo.lib import money, strict_json
from aforo.lib.errors import AforoError

TEXT_MAX: Final = 255
UNITS_MAX: Final = 32
UNIT_NAME_MAX: Final = 80
AMOUNT_MAX: Final = 2**52  # micros, and units

# Every text member; camelCase stands for the same (customerId, customer_id).
TEXTS: Final = (
    "api_key",
    "client_id",
    "agent_id",
    "team_id",
    "customer_id",
    "tenant_id",
    "subscription_id",
    "product_id",
    "mcp_server_id",
    "feature",
    "tool_name",
    "model",
    "session_id",
    "parent_session_id",
    "request_id",
    "correlation_id",
    "args_hash",
    "last_tool_status",
)
_REQUEST_ID = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_DECIMAL_TEXT = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """What the caller expects to use; None and empty: nothing was said."""

    amount_micros: int | None = None  # money, rounded up
    tokens: int | None = None
    units: dict[str, int] = msgspec.field(
        default_factory=dict
    )  # measurement → quantity


class Ask(msgspec.Struct, frozen=True, gc=False):
    """A parsed request; texts are empty where nothing was named."""

    texts: dict[str, str]
    estimate: Estimate
    ceiling_micros: int | None
    # The gateway's request that is asked for: its method and path, kept with refusals.
    route: str = ""

    def __getitem__(self, name: str) -> str:
        """Return a text member by its name in TEXTS."""
        return self.texts.get(name, "")

    @property
    def product(self) -> str:
        """The product named, by itself or as an MCP server."""
        return self["product_id"] or self["mcp_server_id"]


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


_NAMES: Final = {
    spelling: name
    for name in (*TEXTS, "estimate", "ceiling")
    for spelling in (name, _camel(name))
}


def _refuse(code: str, detail: str, name: str | None) -> AforoError:
    return AforoError(code, 400, detail, field=name)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > TEXT_MAX:
        raise _refuse(
            "invalid_field",
            f"{name} must be a text of 1 to {TEXT_MAX} characters",
            name,
        )
    if "\x00" in value:
        raise _refuse("invalid_field", f"{name} must not hold NUL", name)
    if name == "request_id" and not _REQUEST_ID.fullmatch(value):
        raise _refuse(
            "invalid_request_id", "request_id must be printable ASCII", "request_id"
        )
    return value


def _number(name: str, value: Any) -> Decimal:
    """Return a figure that is not negative: a JSON number or a decimal text."""
    if isinstance(value, str) and _DECIMAL_TEXT.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _refuse("invalid_estimate", f"{name} must be a number", name)
    if value < 0:
        raise _refuse("invalid_estimate", f"{name} must not be negative", name)
    return Decimal(value)


def _bounded(name: str, value: int) -> int:
    if value > AMOUNT_MAX:
        raise _refuse("invalid_estimate", f"{name} is too large", name)
    return value


def _whole(name: str, value: Any) -> int:
    """Return a quantity, rounded up."""
    return _bounded(name, int(_number(name, value).to_integral_value(ROUND_CEILING)))


def _micros(name: str, value: Any, rounded: Callable[[Decimal], int]) -> int:
    return _bounded(name, rounded(_number(name, value)))


def _estimate(value: Any) -> Estimate:
    if not isinstance(value, dict):
        raise _refuse("invalid_estimate", "estimate must be an object", "estimate")
    unknown = value.keys() - {"amount", "tokens", "units"}
    if unknown:
        name = f"estimate.{min(unknown)[:TEXT_MAX]}"
        raise _refuse("unknown_field", f"{name} is not known", name)
    units = value.get("units", {})
    if not isinstance(units, dict) or len(units) > UNITS_MAX:
        raise _refuse(
            "invalid_estimate",
            f"estimate.units must be an object of at most {UNITS_MAX} members",
            "estimate.units",
        )
    for name in units:
        if not 0 < len(name) <= UNIT_NAME_MAX:
            raise _refuse(
                "invalid_estimate", "a unit's name is too long", "estimate.units"
            )
    amount, tokens = value.get("amount"), value.get("tokens")
    return Estimate(
        amount_micros=None
        if amount is None
        else _micros("estimate.amount", amount, money.micros_up),
        tokens=None if tokens is None else _whole("estimate.tokens", tokens),
        units={n: _whole(f"estimate.units.{n}", q) for n, q in units.items()},
    )


def parse(body: bytes) -> Ask:
    """Return the question in a body.

    Raises AforoError 400: invalid_json, duplicate_key, too_deep,
    number_out_of_range, invalid_body, unknown_field, invalid_field,
    invalid_request_id, invalid_estimate.
    """
    return of(members(body))


def members(body: bytes) -> dict[str, Any]:
    """Return the members of a body that must be a JSON object (else 400)."""
    if not body.strip():
        raise _refuse("invalid_body", "the body is empty", None)
    try:
        found = strict_json.loads(body)
    except strict_json.StrictJsonError as error:
        raise _refuse(error.code, error.detail, error.field) from error
    if not isinstance(found, dict):
        raise _refuse("invalid_body", "the body must be an object", None)
    return found


def of(members: Mapping[str, Any]) -> Ask:
    """Return the question in members, whose names may be camelCase.

    Raises AforoError 400 as parse() does.
    """
    texts: dict[str, str] = {}
    estimate, ceiling = Estimate(), None
    seen: set[str] = set()
    for spelling, value in members.items():
        name = _NAMES.get(spelling)
        if name is None:
            shown = spelling[:TEXT_MAX]
            raise _refuse("unknown_field", f"{shown!r} is not a known member", shown)
        if name in seen:
            raise _refuse("duplicate_key", f"{name} comes in two spellings", name)
        seen.add(name)
        if value is None:
            continue
        if name == "estimate":
            estimate = _estimate(value)
        elif name == "ceiling":
            ceiling = _micros("ceiling", value, money.micros_down)
        else:
            texts[name] = _text(name, value)
    return Ask(texts, estimate, ceiling)
