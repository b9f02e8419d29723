"""From a draft to an event: who pays, who acted, for what, and when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from aforo.core.service_calls import invalid_credentials
from aforo.lib import ids
from aforo.lib.errors import AforoError
from metering import blocks, canonical, implicit
from metering.directory import Agent, Book, Caller, Credential, Customer, Product
from metering.implicit import Scope
from metering.shapes import Draft, require_whole

AGE_MAX = dt.timedelta(days=35)
# What staff and backends bring in by hand can be older: a year and a month.
BACKFILL_AGE_MAX = dt.timedelta(days=400)
AHEAD_MAX = dt.timedelta(minutes=5)
OWN_AGE_MAX = dt.timedelta(hours=24)
# A call that began while a key was good may be reported after its end.
LONGEST_CALL = dt.timedelta(minutes=15)

# How each named thing is called in the two shapes.
FIELDS = {
    "tenant": ("tenantId", "tenant_id"),
    "customer": ("customerId", "customer_id"),
    "team": ("teamId", "team_id"),
    "agent": ("agentId", "agent_id"),
    "subscription": ("subscriptionId", "subscription_id"),
    "product": ("productId", "mcp_server_id"),
    "client": ("clientId", "client_id"),
    "key": ("apiKey", "api_key"),
}


@dataclass(slots=True)
class Event:
    """A row of metering.UsageEvent to be, with the id that its sender knows."""

    id: UUID
    shown_id: str
    event_id: str
    body_hash: bytes
    customer_id: UUID
    credential_id: UUID | None
    agent_id: UUID | None
    team_id: UUID | None
    product_id: UUID | None
    event_type: str
    tool_name: str
    status: str
    request_id: str
    correlation_id: str
    session_key: str
    occurred_at: dt.datetime
    received_at: dt.datetime
    flags: list[str]
    body: str
    implicit: Scope | None = None  # Its session is found as it is stored.


@dataclass(slots=True)
class Party:
    """Who an event belongs to."""

    customer: Customer
    credential: Credential | None
    agent: Agent | None
    team_id: UUID | None


def identify(
    draft: Draft,
    caller: Caller,
    book: Book,
    now: dt.datetime,
    *,
    age_max: dt.timedelta = AGE_MAX,
) -> Event:
    """Return the event that a draft stands for.

    Ids that the sender names are checked against the credential. Raises AforoError:
    404 not_found for what is absent or another's, 400 and 422 for its time.
    """
    believed = _believed(draft.occurred_at or now, caller, now)
    party = _party(draft, caller, book, believed)
    product = _product(draft, caller, party, book)
    occurred_at = _occurred_at(draft, caller, now, age_max)
    flags = draft.flags
    sealed = party.customer.sealed_until
    if sealed is not None and occurred_at < sealed:
        flags.append("late")
    _refuse_fractions(draft, book)
    if "product" in draft.names:
        draft.body["product"] = draft.names["product"]
    body = canonical.encode(draft.body)
    head = _logical(draft, party) if draft.logical_id else _head(draft, party)
    body_hash = canonical.digest(head, b"" if draft.logical_id else body)
    if draft.usage:
        # After the hash: a better reader changes nothing of what was sent.
        stored, said = blocks.take(draft.body, draft.usage)
        body = canonical.encode(stored)
        flags += said
    key = ids.new_id()
    shown_id = draft.logical_id or draft.event_id or _absent_id(draft, key, body_hash)
    own = caller.credential
    event_id = f"{ids.public('crd', own.id)}:{shown_id}" if own else shown_id
    return Event(
        id=key,
        shown_id=shown_id,
        event_id=event_id,
        body_hash=body_hash,
        customer_id=party.customer.id,
        credential_id=party.credential.id if party.credential else None,
        agent_id=party.agent.id if party.agent else None,
        team_id=party.team_id,
        product_id=product,
        event_type=draft.event_type,
        tool_name=draft.tool_name,
        status=draft.status,
        request_id=draft.request_id,
        correlation_id=draft.correlation_id,
        session_key=draft.session_key or _shared_session(draft, party),
        occurred_at=occurred_at,
        received_at=now,
        flags=flags,
        body=body.decode(),
        implicit=implicit.scope(draft, party, product, book),
    )


def _refuse_fractions(draft: Draft, book: Book) -> None:
    """Refuse a fraction of what a metric of the tenant counts in whole numbers."""
    if book.catalog.whole:
        for metric, text in draft.body.get("measurements", {}).items():
            if "." in text and metric in book.catalog.whole:
                require_whole(text, f"measurements.{metric}")


def _head(draft: Draft, party: Party) -> bytes:
    """Return what the body hash covers beside the body.

    What the sender said, in our ids: so the tenant's id and ours for one customer
    are one meaning. What was derived (a team, a default time) is left out: it may be
    another at the next try.
    """
    names = draft.names
    return canonical.encode(
        {
            "type": draft.event_type,
            "customer": str(party.customer.id),
            "agent": str(party.agent.id) if party.agent else "",
            "team": str(party.team_id) if "team" in names else "",
            "at": draft.occurred_at.isoformat() if draft.occurred_at else "",
            "ids": [draft.request_id, draft.correlation_id, draft.session_key],
        }
    )


def _logical(draft: Draft, party: Party) -> bytes:
    """Return what makes two reports of one logical call the same.

    Later rounds and polls differ in time, duration and outcome; whose call it was and
    of which tool does not change.
    """
    return canonical.encode(
        {
            "logical": draft.logical_id,
            "customer": str(party.customer.id),
            "tool": draft.tool_name,
        }
    )


def _shared_session(draft: Draft, party: Party) -> str:
    """Return the agent's own session under a key that agents share; empty without."""
    if not draft.shared_session or party.agent is None:
        return draft.shared_session
    return f"{draft.shared_session}/{ids.public('agt', party.agent.id)}"


def _absent_id(draft: Draft, key: UUID, body_hash: bytes) -> str:
    """Return the id of an event that was sent without one, and flag it."""
    if draft.is_tool:
        draft.flags.append("not_deduplicated")
        return ids.public("evt", key)
    draft.flags.append("derived_id")
    return body_hash.hex()


def not_found(draft: Draft, kind: str) -> AforoError:
    """Return the refusal of a name that is absent or another's: one answer for both."""
    field = FIELDS[kind][draft.is_tool]
    return AforoError("not_found", 404, f"{field}: not known here", field=field)


def _party(draft: Draft, caller: Caller, book: Book, at: dt.datetime) -> Party:
    """Find the payer, the credential, the agent and the team."""
    names = draft.names
    if "tenant" in names and names["tenant"] != ids.public("ten", caller.tenant_id):
        raise not_found(draft, "tenant")
    credential = _credential(draft, caller, book, at)
    agent = _agent(draft, credential, book)
    customer = _customer(draft, credential, agent, book)
    team_id = agent.team_at(at) if agent else None
    # A credential that was issued to another payer says by itself who pays.
    lent = credential is None and agent and agent.customer_id != customer.id
    if agent is not None and (lent or "team" in names):
        team_id = _using_team(draft, agent, customer, book, at)
    elif "team" in names:
        team = book.find("team", names["team"])
        if team is None or team.customer_id != customer.id:
            raise not_found(draft, "team")
        team_id = team.id
    return Party(customer, credential, agent, team_id)


def _credential(
    draft: Draft, caller: Caller, book: Book, at: dt.datetime
) -> Credential | None:
    """Return the credential that the event names, or the caller's own."""
    own = caller.credential
    found = own
    for kind in ("key", "client"):
        name = draft.names.get(kind)
        if name is None:
            continue
        named = book.find(kind, name)
        if named is None:
            # A secret that nobody holds is a bad secret; an id is only unknown.
            field = FIELDS[kind][draft.is_tool]
            raise (
                invalid_credentials(field) if kind == "key" else not_found(draft, kind)
            )
        if found is not None and found.agent_id != named.agent_id:
            raise not_found(draft, kind)
        ends_at = named.ends_at
        if kind == "key" and ends_at is not None and at > ends_at + LONGEST_CALL:
            raise invalid_credentials(FIELDS[kind][draft.is_tool])
        found = own or named
    return found


def _agent(draft: Draft, credential: Credential | None, book: Book) -> Agent | None:
    """Return the agent that acted: the credential's, else the one that is named."""
    name = draft.names.get("agent")
    if credential is None and name is None:
        return None
    named = book.find("agent", name) if name is not None else None
    if name is not None and named is None:
        raise not_found(draft, "agent")
    if credential is None:
        return named if isinstance(named, Agent) else None
    if named is not None and named.id != credential.agent_id:
        raise not_found(draft, "agent")
    found = named or book.find("agent", ids.public("agt", credential.agent_id))
    return found if isinstance(found, Agent) else None


def _customer(
    draft: Draft, credential: Credential | None, agent: Agent | None, book: Book
) -> Customer:
    """Return who pays: the credential's customer, the one named, or the agent's."""
    name = draft.names.get("customer")
    named = book.find("customer", name) if name is not None else None
    if name is not None and named is None:
        raise not_found(draft, "customer")
    holder = credential or agent
    if named is None and holder is not None:
        named = book.find("customer", ids.public("cus", holder.customer_id))
    elif credential and named and named.id != credential.customer_id:
        raise not_found(draft, "customer")
    if not isinstance(named, Customer):
        raise canonical.bad(
            "payer_missing", "name the payer: an api key, client, agent or customer"
        )
    return named


def _using_team(
    draft: Draft, agent: Agent, customer: Customer, book: Book, at: dt.datetime
) -> UUID:
    """Return the team that used the agent: its own, or one that was granted it."""
    name = draft.names.get("team")
    team = book.find("team", name) if name is not None else None
    if name is not None and (team is None or team.customer_id != customer.id):
        raise not_found(draft, "team")
    wanted = team.id if team is not None else None
    own = agent.team_at(at)
    if agent.customer_id == customer.id and wanted in {None, own}:
        return own
    for grant in agent.grants:
        if (
            grant.customer_id == customer.id
            and wanted in {None, grant.team_id}
            and grant.valid_from <= at
            and (grant.valid_to is None or at < grant.valid_to)
        ):
            return grant.team_id
    raise not_found(draft, "agent" if wanted is None else "team")


def _product(draft: Draft, caller: Caller, party: Party, book: Book) -> UUID | None:
    """Return the product: the one named, the subscription's, or the only one.

    None when rating must find it among the customer's subscriptions.
    """
    credential = party.credential
    found = _named_product(draft, caller, book)
    subscription = draft.names.get("subscription")
    if subscription is not None:
        contract = book.find("subscription", subscription)
        if contract is None or contract.customer_id != party.customer.id:
            raise not_found(draft, "subscription")
        if found is not None and found.id != contract.product_id:
            raise not_found(draft, "product")
        draft.body["subscription_id"] = str(contract.id)
        product_id: UUID | None = contract.product_id
    else:
        product_id = found.id if found else None
    reach = credential.product_ids if credential else []
    if product_id is not None and reach and product_id not in reach:
        raise not_found(draft, "product" if found else "subscription")
    if product_id is None and len(reach) == 1 and "product" not in draft.names:
        product_id = reach[0]
    if caller.credential is not None:
        _require_self_reporting(product_id, caller.credential, party, book)
    return product_id


def _named_product(draft: Draft, caller: Caller, book: Book) -> Product | None:
    """Return the product that the event names.

    A code that nobody knows is kept for rating to list; an id of our form that is
    not this tenant's is somebody else's.
    """
    name = draft.names.get("product")
    if name is None:
        return None
    found = book.catalog.products.get(name)
    if found is None and (caller.credential or ids.parse_public("prd", name)):
        raise not_found(draft, "product")
    return found


def _require_self_reporting(
    product_id: UUID | None, own: Credential, party: Party, book: Book
) -> None:
    """Refuse callers who report for themselves where the product does not let them."""
    candidates = (
        {product_id}
        if product_id is not None
        else set(own.product_ids or party.customer.product_ids)
    )
    open_ids = {p.id for p in book.catalog.products.values() if p.self_reporting}
    if not candidates or not candidates <= open_ids:
        raise AforoError(
            "self_reporting_off",
            403,
            "callers of this product do not report their own usage: send it with a"
            " service key, or let them in the product's settings",
        )


def _believed(at: dt.datetime, caller: Caller, now: dt.datetime) -> dt.datetime:
    """Return a time as far as the sender is believed: callers only within a day."""
    return at if caller.credential is None else min(max(at, now - OWN_AGE_MAX), now)


def _occurred_at(
    draft: Draft, caller: Caller, now: dt.datetime, age_max: dt.timedelta
) -> dt.datetime:
    """Return when the usage happened, as far as the sender is believed."""
    at = draft.occurred_at
    if at is None:
        draft.flags.append("time_defaulted")
        return now
    if caller.credential is not None:
        believed = _believed(at, caller, now)
        if believed != at:
            draft.flags.append("time_clamped")
        return believed
    if at > now + AHEAD_MAX:
        raise canonical.bad(
            "timestamp_in_future",
            "timestamp is over five minutes ahead; send it again then",
            "timestamp",
        )
    if at < now - age_max:
        detail = f"timestamp is too long ago: usage is taken for {age_max.days} days"
        raise AforoError("too_old", 422, detail, field="timestamp")
    return at
