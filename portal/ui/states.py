"""Every state that pages show: its word, its icon and its tone.

State is never told by colour alone, so each has all three.
"""

from __future__ import annotations

from typing import NamedTuple


class State(NamedTuple):
    """How one state looks."""

    word: str
    icon: str
    tone: str  # ok, warn, bad, accent, or muted


_OK, _WARN, _BAD, _RUN, _OFF = "ok", "warn", "bad", "accent", "muted"

STATES: dict[str, State] = {
    # Accounts, credentials, plans
    "active": State("Active", "circle-check", _OK),
    "live": State("Live", "circle-check", _OK),
    "published": State("Published", "circle-check", _OK),
    "draft": State("Draft", "circle-dashed", _OFF),
    "retired": State("Retired", "circle-x", _OFF),
    "inactive": State("Inactive", "circle-x", _OFF),
    "suspended": State("Suspended", "ban", _BAD),
    "paused": State("Paused", "pause", _WARN),
    "paused_by_cap": State("Paused by cap", "pause", _BAD),
    "revoked": State("Revoked", "ban", _BAD),
    "expired": State("Expired", "clock", _OFF),
    "cancelled": State("Cancelled", "circle-x", _OFF),
    "invited": State("Invited", "clock", _RUN),
    # Periods and invoices
    "open": State("Open", "circle-dot", _RUN),
    "closing": State("Closing", "clock", _WARN),
    "finalised": State("Finalised", "lock", _OK),
    "issued": State("Issued", "lock", _OK),
    "paid": State("Paid", "circle-check", _OK),
    "overdue": State("Overdue", "triangle-alert", _BAD),
    "void": State("Void", "ban", _OFF),
    # Events and sessions
    "pending": State("Pending", "clock", _RUN),
    "rated": State("Rated", "circle-check", _OK),
    "unrateable": State("Unrateable", "triangle-alert", _WARN),
    "quarantined": State("Quarantined", "triangle-alert", _BAD),
    "duplicate": State("Duplicate", "copy", _OFF),
    "late": State("Late", "clock", _WARN),
    "running": State("Running", "circle-dot", _RUN),
    "queued": State("Queued", "clock", _RUN),
    "checked": State("Waits for confirmation", "clock", _WARN),
    "confirmed": State("Confirmed", "clock", _RUN),
    "storing": State("Being stored", "circle-dot", _RUN),
    "done": State("Done", "circle-check", _OK),
    "completed": State("Completed", "circle-check", _OK),
    "closed": State("Closed", "circle-check", _OFF),
    "failed": State("Failed", "circle-x", _BAD),
    "error": State("Error", "circle-x", _BAD),
    "success": State("Success", "circle-check", _OK),
    "timeout": State("Timed out", "clock", _WARN),
    # Guard
    "allow": State("Allowed", "circle-check", _OK),
    "warn": State("Warned", "triangle-alert", _WARN),
    "throttle": State("Throttled", "gauge", _WARN),
    "deny": State("Blocked", "ban", _BAD),
    "block": State("Blocked", "ban", _BAD),
    "unknown": State("Unknown", "circle-dashed", _OFF),
    "observed": State("Would be blocked", "eye", _WARN),
    "observe_only": State("Observe-only", "eye", _WARN),
    "enforcing": State("Enforcing", "shield", _OK),
    "fail_open": State("Fail-open", "triangle-alert", _BAD),
    "degraded": State("Degraded", "triangle-alert", _WARN),
    "ok": State("OK", "circle-check", _OK),
    "rule_enforce": State("Enforced", "shield", _OK),
    "rule_shadow": State("Shadow", "circle-dashed", _RUN),
    "rule_off": State("Off", "circle-x", _OFF),
}


def describe(state: str) -> State:
    """Return how a state looks; an unlisted one reads as its own name."""
    key = state.strip().lower().replace("-", "_").replace(" ", "_")
    if key in STATES:
        return STATES[key]
    return State(state.replace("_", " ").capitalize() or "Unknown", "circle-dot", _OFF)
