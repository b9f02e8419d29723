"""Identifiers: time-ordered UUIDs inside, a prefix and base32 outside."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import uuid

import uuid_utils.compat

# Prefix of each kind of object in the API and in addresses.
PREFIXES = {
    "tenant": "ten",
    "user": "usr",
    "customer": "cus",
    "team": "tem",
    "app": "app",
    "agent": "agt",
    "credential": "crd",
    "service_key": "svk",
    "subscription": "sub",
    "period": "per",
    "invoice": "inv",
    "invoice_line": "inl",
    "ledger_entry": "led",
    "wallet": "wal",
    "product": "prd",
    "tool": "tol",
    "tool_name": "tln",
    "metric": "met",
    "plan": "pln",
    "plan_version": "plv",
    "event": "evt",
    "session": "ses",
    "hold": "hld",
    "decision": "dec",
    "backtest": "bkt",
    "happening": "hap",
    "alert_rule": "alr",
    "alert_firing": "alf",
    "webhook_endpoint": "whk",
    "delivery": "dlv",
}


def new_id() -> uuid.UUID:
    """Return a new UUIDv7: later ids sort after earlier ones."""
    return uuid_utils.compat.uuid7()


def oldest_since(instant: dt.datetime) -> uuid.UUID:
    """Return an id before every one that is made from the instant on."""
    return uuid.UUID(int=int(instant.timestamp() * 1000) << 80)


# Two characters for each ten bits: base64.b32encode takes five times as long.
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [a + b for a in _BASE32 for b in _BASE32]
_SHIFTS = range(120, -1, -10)


def base32(raw: bytes) -> str:
    """Return 16 bytes as 26 lower-case characters, without padding."""
    bits = int.from_bytes(raw, "big") << 2
    return "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])


def public(prefix: str, value: uuid.UUID) -> str:
    """Return the outside form of an id, such as `cus_` and 26 characters."""
    number = value.int << 2  # 128 bits are 26 digits of 5 bits, and 2 of padding.
    return f"{prefix}_" + "".join([_PAIRS[number >> s & 1023] for s in _SHIFTS])


def parse_public(prefix: str, text: str) -> uuid.UUID | None:
    """Return the id behind its outside form, or None when the text is not one."""
    head, _, tail = text.partition("_")
    if head != prefix or len(tail) != 26 or not tail.isascii():
        return None
    try:
        raw = base64.b32decode(tail.upper() + "======")
    except binascii.Error:
        return None
    if len(raw) != 16 or public(prefix, uuid.UUID(bytes=raw)) != text:
        return None
    return uuid.UUID(bytes=raw)
