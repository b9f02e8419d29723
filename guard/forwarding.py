"""What a gateway forwards to /v1/authz: headers in, a status and headers out.

For gateways that ask before each request and pass on what comes back: nginx
auth_request, Caddy forward_auth, Traefik ForwardAuth, Envoy ext_authz. They see no
body, they understand few statuses, and what they copy to the backend is named in their
configuration: so every such header is in every admission, empty where it says nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from aforo.lib import crypto
from aforo.lib.errors import AforoError, problem, problem_headers
from aforo.lib.http import Basic, Bearer, authorization
from guard import asking, wording
from guard.asking import Ask
from guard.engine import keys
from guard.engine.decision import Decision, Outcome
from guard.engine.hold import HoldId
from guard.judging import Verdict, unauthenticated
from guard.wording import Answer

PATH: Final = "/v1/authz"
ROUTE_MAX: Final = 200
TOOL_MAX: Final = 128
# From this version on MCP servers compare the header with the body; before, a caller
# could put a cheap tool's name over a dear one's call.
MCP_VERIFIES_FROM: Final = "2026-07-28"

# Every text member of /v1/check under its name: X-Aforo-Tool-Name, and so on. The
# caller's key is not among them: it stays in Authorization or X-API-Key.
_MEMBERS: Final = {
    f"x-aforo-{name.replace('_', '-')}": name
    for name in asking.TEXTS
    if name != "api_key"
} | {"x-aforo-session": "session_id"}
_ESTIMATES: Final = {
    "x-aforo-estimate": "amount",
    "x-aforo-estimate-tokens": "tokens",
}
_UNITS: Final = "x-aforo-estimate-units"
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_BASE64: Final = re.compile(r"=\?base64\?([A-Za-z0-9+/=_-]*)\?=", re.IGNORECASE)
_NOT_A_TOOL: Final = re.compile(r"[^\w.\-/]", re.ASCII)
_NOT_PRINTABLE: Final = re.compile(r"[^\x21-\x7e]")


class Forwarded(msgspec.Struct, frozen=True, gc=False):
    """A forwarded request: whose key opens the door, and what is asked."""

    authorization: str
    ask: Ask


def _own_key(headers: Mapping[str, str]) -> tuple[str, Bearer | Basic | None]:
    """Return the caller's credential, as a header and in its parts.

    Authorization counts where it holds a key of ours; else X-API-Key does. Two keys
    that differ are refused: nobody can say who pays.
    """
    found = authorization(headers.get("authorization", ""))
    text = found.token if isinstance(found, Bearer) else found and found.password
    ours = bool(text) and crypto.KEY_PATTERN.fullmatch(text or "") is not None
    named = headers.get("x-api-key", "")
    if not named:
        return headers.get("authorization", ""), found
    service = isinstance(found, Bearer) and found.token.startswith("svc_")
    if ours and not service and named != text:
        raise unauthenticated("X-API-Key")
    if ours and not service:
        return headers["authorization"], found
    return f"Bearer {named}", Bearer(named)


def _tool(headers: Mapping[str, str]) -> str:
    """Return the tool that an MCP request calls, where its header can be believed."""
    version = headers.get("mcp-protocol-version", "")
    if headers.get("mcp-method") != "tools/call" or not _DATE.fullmatch(version):
        return ""
    name = headers.get("mcp-name", "") if version >= MCP_VERIFIES_FROM else ""
    if match := _BASE64.fullmatch(name):
        try:
            return base64.b64decode(match[1]).decode()
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return name


def _units(text: str) -> dict[str, str]:
    """Return quantities by measurement of `input_tokens=1800, output_tokens=600`."""
    found = {}
    for part in text.split(","):
        name, equals, quantity = part.strip().partition("=")
        if not equals:
            raise AforoError(
                "invalid_estimate",
                400,
                "name units as input_tokens=1800, output_tokens=600",
                field="estimate.units",
            )
        found[name.strip()] = quantity.strip()
    return found


def _members(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the members of /v1/check that the headers say; empty ones say nothing."""
    members: dict[str, Any] = {}
    estimate: dict[str, Any] = {}
    for header, value in headers.items():
        if not value or not header.startswith("x-aforo-"):
            continue
        if name := _MEMBERS.get(header):
            members[name] = value
        elif name := _ESTIMATES.get(header):
            estimate[name] = value
        elif header == _UNITS:
            estimate["units"] = _units(value)
        elif header == "x-aforo-ceiling":
            members["ceiling"] = value
    if estimate:
        members["estimate"] = estimate
    if "request_id" not in members and (given := headers.get("x-request-id")):
        members["request_id"] = given
    if "session_id" not in members and (given := headers.get("mcp-session-id")):
        members["session_id"] = given
    if tool := members.get("tool_name") or _tool(headers):
        members["tool_name"] = _NOT_A_TOOL.sub("_", tool)[:TOOL_MAX]
    return members


def _route(headers: Mapping[str, str], method: str, path: str) -> str:
    """Return the gateway's own request as `POST /v1/search`, without its query.

    Kept with refusals, for people to read; nothing is decided by it.
    """
    method = (
        headers.get("x-original-method") or headers.get("x-forwarded-method") or method
    )
    path = (
        headers.get("x-original-uri")
        or headers.get("x-original-url")
        or headers.get("x-forwarded-uri")
        or path.removeprefix(PATH)
    )
    if not path:
        return ""
    path = _NOT_PRINTABLE.sub("_", crypto.redact(path.partition("?")[0]))
    return f"{_NOT_PRINTABLE.sub('_', method)[:16]} {path[:ROUTE_MAX]}"


def read(headers: Mapping[str, str], *, method: str, path: str) -> Forwarded:
    """Return what a gateway asks; what is left of `path` is the gateway's own.

    The payer is who owns the caller's credential. A service key, in
    X-Aforo-Service-Key or Authorization, may name another one where the caller has
    none. Raises AforoError 400 and 401.
    """
    members = _members(headers)
    service = headers.get("x-aforo-service-key", "")
    value, own = _own_key(headers)
    if not service and (given := headers.get("authorization", "")).startswith(
        "Bearer svc_"
    ):
        service = given[len("Bearer ") :]
    if service:
        if isinstance(own, Basic):
            members["api_key"], members["client_id"] = own.password, own.user
        elif own is not None and own.token != service:
            members["api_key"] = own.token
        value = f"Bearer {service}"
    ask = asking.of(members)
    route = _route(headers, method, path)
    return Forwarded(value, msgspec.structs.replace(ask, route=route))


def hold_name(verdict: Verdict) -> str:
    """Return the request id that the usage event must carry to settle the hold."""
    request, key = verdict.request, verdict.decision.hold_key
    if request.minted_id and key != keys.request_key(request.request_id):
        return request.minted_id
    return request.request_id


def _admitted(verdict: Verdict, ask: Ask) -> Answer:
    decision = verdict.decision
    facts = decision.facts
    throttled = decision.outcome == Outcome.THROTTLE
    reason = decision.reason.value if throttled and decision.reason else ""
    hold = HoldId(verdict.request.tag, decision.hold_key)
    headers = {
        "Cache-Control": "no-store",
        "X-Aforo-Decision": decision.decision_id,
        "X-Aforo-Request-Id": hold_name(verdict),
        "X-Aforo-Hold-Id": str(hold) if decision.hold_key else "",
        "X-Aforo-Customer-Id": facts.customer_id if facts else "",
        "X-Aforo-Agent-Id": facts.agent_id if facts else "",
        "X-Aforo-Tool-Name": ask["tool_name"],
        "X-Aforo-Throttle": "true" if throttled else "",
        "X-Aforo-Throttle-Reason": reason,
        "X-Aforo-Throttle-Model": facts.throttle_model if throttled and facts else "",
        "X-Aforo-Degraded": "true" if decision.degraded else "",
        **wording.limit_headers(decision),
    }
    return Answer(200, headers, b"")


def refusal(error: AforoError, *, soft: bool) -> Answer:
    """Return a refusal in the statuses that gateways pass on: 401, 403 and 429.

    Where nothing could be judged it stays 503: the gateway's own failure mode decides.
    A plan that lets no call pass meanwhile is a decision, and temporary: 429.

    Where the gateway knows 401 and 403 only (nginx), `soft` says 403 for 429 too; the
    status that the client should see is in X-Aforo-Status, the body in X-Aforo-Problem.
    """
    status = error.status
    if error.code == "payer_missing":
        error, status = unauthenticated(), 401
    elif status == 503 and "decision" in error.extra:
        status = 429
    elif status not in {401, 403, 429, 500, 503}:
        status = 403
    told = AforoError(
        error.code,
        status,
        error.detail,
        field=error.field,
        retry_after=error.retry_after,
        headers=error.headers,
        **error.extra,
    )
    body = problem(told)
    headers = {**problem_headers(told), "X-Aforo-Status": str(status)}
    if soft and status in {403, 429}:
        short = {name: said for name, said in body.items() if name != "limits"}
        # ASCII: it is a header.
        headers["X-Aforo-Problem"] = json.dumps(short, default=str)
        status = 403
    return Answer(status, headers, msgspec.json.encode(body))


def answer(verdict: Verdict, ask: Ask, *, soft: bool) -> Answer:
    """Return what the door says about a decision."""
    decision: Decision = verdict.decision
    if decision.outcome == Outcome.DENY:
        return refusal(wording.denial(decision), soft=soft)
    return _admitted(verdict, ask)
