"""Holds: reserved by a check, then settled, released, or expired by themselves."""

from __future__ import annotations

import base64
import binascii
import enum
import re

import msgspec

from aforo.lib import ids
from guard.engine import keys, scripts

_PREFIX = "hld_"
_FORM = re.compile(r"hld_([0-9a-z]{12})([a-z2-7]{26})")


class Released(enum.StrEnum):
    """What became of a hold that somebody wanted to void."""

    RELEASED = "released"
    BEFORE = "before"  # by an earlier release
    USED = "used"  # settled or expired before
    UNKNOWN = "unknown"


class HoldId(msgspec.Struct, frozen=True, gc=False):
    """Where a hold is: the customer's tag and the key of its request."""

    tag: str
    key: bytes

    def __str__(self) -> str:
        """Return the id that callers see, such as hld_… and 38 characters."""
        return f"{_PREFIX}{self.tag}{ids.base32(self.key)}"


def parse_hold_id(text: str) -> HoldId | None:
    """Return the place behind a hold's id, or None when the text is not one."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    try:
        key = base64.b32decode(match[2].upper() + "======")
    except binascii.Error:
        return None
    return HoldId(match[1], key)


def prepare(hold: HoldId, *, decision_id: str = "") -> scripts.Call:
    """Return the call of release.lua that voids a hold.

    With a decision id the hold must be that decision's.
    """
    return scripts.Call(
        scripts.RELEASE, keys.hold_keys(hold.tag), [hold.key, decision_id]
    )


def interpret(reply: bytes | str) -> Released:
    """Return what a reply of release.lua says."""
    return Released(reply.decode() if isinstance(reply, bytes) else reply)


def release(client: scripts.Client, hold: HoldId, *, decision_id: str = "") -> Released:
    """Void a hold: the call did not happen."""
    return interpret(scripts.run(client, prepare(hold, decision_id=decision_id)))
