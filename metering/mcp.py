"""What MCP gateways say of a message, and which messages are usage.

A tool event may carry `mcp`: the method, and ids under which one logical call or
task is reported more than once. Pure: works on a draft, looks nothing up.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from metering import canonical
from metering.canonical import bad

if TYPE_CHECKING:
    from metering.shapes import Draft

# The end of a task; every other state is on the way there.
ENDED = frozenset({"completed", "failed", "cancelled"})
TASK_STATUSES = ENDED | {"submitted", "working", "input_required"}
RESULT_TYPES = frozenset({"complete", "input_required", "task"})
# Messages that are no use of a tool, beside notifications and lists.
NEVER_BILLED = frozenset(
    """initialize ping server/discover logging/setLevel completion/complete
    resources/subscribe resources/unsubscribe subscriptions/listen
    tasks/get tasks/result tasks/update tasks/cancel""".split()
)
# Messages that may bring the end of a task.
TASK_MESSAGES = ("tasks/", "notifications/tasks")
TEXTS = {
    "method": 80,
    "call_id": 255,
    "task_id": 255,
    "session_id": 255,
    "meta_session_id": 255,
}
BOOLEANS = frozenset({"input_responses", "is_error"})
CHOICES = {"task_status": TASK_STATUSES, "result_type": RESULT_TYPES}
MEMBERS = (*TEXTS, *sorted(BOOLEANS), *CHOICES, "trace_id")
_TRACE = re.compile(r"[0-9a-f]{32}")
_PLAIN = re.compile(r"[\x20-\x7e]{1,255}")


def members(value: Any, key: str) -> dict[str, Any]:
    """Return the members of `mcp`, checked.

    Raises AforoError 400: invalid_field, unknown_field, secret_in_field.
    """
    if not isinstance(value, dict):
        raise bad("invalid_field", f"{key} is an object", key)
    found: dict[str, Any] = {}
    for name, given in value.items():
        field = f"{key}.{name[:80]}"
        if name not in MEMBERS:
            raise bad("unknown_field", f"{field} is no field", field)
        if given is None:
            continue
        if name in TEXTS:
            canonical.name(given, field, TEXTS[name])
        elif name in BOOLEANS:
            if not isinstance(given, bool):
                raise bad("invalid_field", f"{field} is true or false", field)
        elif name == "trace_id":
            if not isinstance(given, str) or not _TRACE.fullmatch(given):
                detail = f"{field} is 32 digits of lower-case hex"
                raise bad("invalid_field", detail, field)
        elif not isinstance(given, str) or given not in CHOICES[name]:
            detail = f"send one of {', '.join(sorted(CHOICES[name]))}"
            raise bad("invalid_field", detail, field)
        found[name] = given
    return found


def finish(draft: Draft, given: dict[str, Any]) -> None:
    """Decide whether the message is usage, under which id, and in which session.

    Raises AforoError 400 missing_field when a second round names no call.
    """
    draft.ignored = _ignored(given)
    if draft.ignored:
        return
    if given.get("input_responses") and not {"call_id", "task_id"} & given.keys():
        detail = "an answer to the server's questions says of which call it is"
        raise bad("missing_field", detail, "mcp.call_id")
    for kind in ("task", "call"):
        own = given.get(f"{kind}_id")
        if own is not None:
            draft.logical_id = _logical_id(draft, kind, own)
            break
    if draft.logical_id and draft.event_id:
        draft.body["attempt_id"] = draft.event_id
    _place(draft, given)
    failed = given.get("is_error") or given.get("task_status") in {
        "failed",
        "cancelled",
    }
    if failed and draft.status in {"", "SUCCESS"}:
        draft.status = "FAILED"
    properties = draft.body.setdefault("properties", {})
    if draft.status:
        properties["status"] = draft.status
    for name in ("method", "task_status"):
        if name in given:
            properties[f"mcp_{name}"] = given[name]


def _ignored(given: dict[str, Any]) -> str:
    """Return why a message is no usage; empty when it is."""
    method = given.get("method", "")
    ends_task = "task_id" in given and given.get("task_status") in ENDED
    if (
        method in NEVER_BILLED
        or method.startswith("notifications/")
        or method.endswith("/list")
    ):
        brings_end = ends_task and method.startswith(TASK_MESSAGES)
        return "" if brings_end else "mcp_method"
    if given.get("result_type") == "input_required":
        return "input_required"
    if given.get("result_type") == "task" and not ends_task:
        return "task_not_ended"
    if "task_id" in given and not ends_task:
        if "task_status" not in given:
            detail = "a task is reported with its status"
            raise bad("missing_field", detail, "mcp.task_status")
        return "task_not_ended"
    return ""


def _logical_id(draft: Draft, kind: str, own: str) -> str:
    """Return the event id of a call or task: one for all its reports."""
    server = draft.names.get("product", "")
    made = f"mcp-{kind}:{server}:{own}"
    if _PLAIN.fullmatch(made):
        return made
    return f"mcp-{kind}:sha256:{hashlib.sha256(made.encode()).hexdigest()}"


def _place(draft: Draft, given: dict[str, Any]) -> None:
    """Put the call into its session and its piece of work, by what is known best."""
    if not draft.session_key:
        draft.session_key = given.get("session_id") or given.get("meta_session_id", "")
    trace = given.get("trace_id", "")
    if trace:
        draft.shared_session = f"trace:{trace}"
        draft.correlation_id = draft.correlation_id or trace
