"""Names of Redis keys and fields: nowhere else are they made.

Every key of a customer carries its hash tag, so all of them share one cluster slot
and one script may touch them. Names hold ids that we made, never a client's text;
what a client sends is only ever looked up as a field, or hashed.
"""

from __future__ import annotations

import hashlib
from typing import Final

REQUEST_KEY_BYTES: Final = 16
# Units that the guard counts by itself.
OWN_UNITS: Final = frozenset({"tokens", "requests"})
# Of cfg: limits that a person lifted, and until when limits only report.
EXEMPTIONS_FIELD: Final = "ov"
OBSERVE_FIELD: Final = "ob"


def customer_keys(tag: str) -> list[str]:
    """Return cfg, use, hold, exp, win, sum and loop of a customer, for the scripts."""
    parts = ("cfg", "use", "hold", "exp", "win", "sum", "loop")
    return [f"{{{tag}}}:{part}" for part in parts]


def projection_keys(tag: str) -> list[str]:
    """Return the keys of project.lua: cfg, use, hold, exp and sum."""
    cfg, use, hold, exp, _, sums, _ = customer_keys(tag)
    return [cfg, use, hold, exp, sums]


def hold_keys(tag: str) -> list[str]:
    """Return the keys of release.lua and recount.lua: hold, exp and sum."""
    return projection_keys(tag)[2:]


def config_key(tag: str) -> str:
    """Return the key of a customer's projected configuration."""
    return f"{{{tag}}}:cfg"


def totals_key(tag: str) -> str:
    """Return the key of a customer's projected totals."""
    return f"{{{tag}}}:use"


def service_keys_key(tenant_tag: str) -> str:
    """Return the key of a tenant's service keys: digest → record, v → version."""
    return f"{{{tenant_tag}}}:svc"


def identities_key(tenant_tag: str) -> str:
    """Return the key of a tenant's ids: one field per id → where it lives."""
    return f"{{{tenant_tag}}}:ids"


def credential_field(digest: str) -> str:
    """Return the config field of a credential."""
    return f"c:{digest}"


def agent_field(agent_id: str) -> str:
    """Return the config field of an agent."""
    return f"a:{agent_id}"


def agent_alias_field(text: str) -> str:
    """Return the config field that leads from any name of an agent to its id."""
    return f"xa:{text}"


def subscription_field(product_id: str, agent_id: str = "") -> str:
    """Return the config field of the subscription for a product.

    One agent's own subscription stands before the customer's.
    """
    return f"s:{product_id}:{agent_id}" if agent_id else f"s:{product_id}"


def product_alias_field(text: str) -> str:
    """Return the config field that leads from any name of a product to its id."""
    return f"xp:{text}"


def usage_field(subscription_id: str) -> str:
    """Return the totals field of a subscription."""
    return f"s:{subscription_id}"


def spend_field(subject_id: str) -> str:
    """Return the totals field of what an agent or a team has spent."""
    return f"m:{subject_id}"


def customer_identity_field(text: str) -> str:
    """Return the field that leads from a customer's id, ours or theirs, to its tag."""
    return f"cus:{text}"


def agent_identity_field(text: str) -> str:
    """Return the field that leads from an agent's id, ours or theirs, to a tag."""
    return f"agt:{text}"


def client_identity_field(text: str) -> str:
    """Return the field that leads from a client id to a tag and a credential."""
    return f"cid:{text}"


def request_key(text: str) -> bytes:
    """Return the 16 bytes under which a request id is held.

    A hash, because a client chose the text; its size bounds what a hold can take.
    """
    return hashlib.sha256(text.encode()).digest()[:REQUEST_KEY_BYTES]


def session_key(text: str) -> bytes:
    """Return the 16 bytes under which a customer's session is counted."""
    return request_key(text)


def session_sum_field(text: str) -> bytes:
    """Return the field of sum with the micros that a session's open holds reserve."""
    return b"ses:" + session_key(text)


def unit_key(unit: str) -> str:
    """Return what stands for a unit in names of fields: a hash, but for our own words.

    check.lua makes the same of the units that a caller names.
    """
    if unit in OWN_UNITS:
        return unit
    return hashlib.sha1(unit.encode(), usedforsecurity=False).hexdigest()[:16]


def unit_sum_field(subscription_id: str, unit: str) -> str:
    """Return the field of sum with what a subscription's open holds reserve of a unit.

    The micros of the customer, a subscription, an agent and a team are in the fields
    `m` and of their own ids.
    """
    return f"{subscription_id}|{unit_key(unit)}"


def call_key(tool: str, args_hash: str) -> bytes:
    """Return the 16 bytes by which a call of a tool with these arguments is known."""
    return request_key(f"{tool}\0{args_hash}")
