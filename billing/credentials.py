"""Credentials: issued once, shown once, rotated with an overlap, revoked at once."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence

from django.db import transaction

from aforo.core import audit, last_used
from aforo.core.models import User
from aforo.lib import clock, crypto, ids
from aforo.lib.errors import AforoError
from billing import books
from billing.models import Agent, Credential, Customer
from billing.signals import restricting
from catalog.models import Product

Kind = Credential.Kind

# How long the old secret goes on working after a rotation.
OVERLAPS = {
    "now": dt.timedelta(0),
    "1h": dt.timedelta(hours=1),
    "24h": dt.timedelta(hours=24),
    "7d": dt.timedelta(days=7),
}
_PREFIX = {Kind.BEARER_TOKEN: "sk", Kind.CLIENT_CREDENTIALS: "cs"}


def kind_for(agent: Agent, products: Sequence[Product]) -> Credential.Kind:
    """Return the kind that products of these types take, or the holder without any.

    Raises AforoError 400 `credential_kind` when they do not agree with each other
    or with the holder: apps hold bearer tokens, agents a client id and secret.
    """
    held = (
        Kind.BEARER_TOKEN if agent.kind == Agent.Kind.APP else Kind.CLIENT_CREDENTIALS
    )
    for product in products:
        wanted = Kind.BEARER_TOKEN if product.uses_bearer else Kind.CLIENT_CREDENTIALS
        if wanted != held:
            raise AforoError(
                "credential_kind",
                400,
                f"{product} ({product.get_type_display()}) takes {wanted.label.lower()}"
                f"; {agent} ({agent.get_kind_display().lower()}) holds"
                f" {held.label.lower()}.",
                field="product",
            )
    return held


def note_used(used: Mapping[uuid.UUID, dt.datetime]) -> None:
    """Note when credentials were last used, by id; exact to NOTED_EVERY.

    An older instant than the noted one changes nothing. Goes by no signal: when a key
    was used decides nothing at the edge.
    """
    last_used.note("billing_credential", used)


@transaction.atomic
def issue(
    *,
    agent: Agent,
    products: Sequence[Product],
    actor: User | None,
    kind: Credential.Kind | None = None,
    customer: Customer | None = None,
    name: str = "",
    expires_at: dt.datetime | None = None,
) -> tuple[Credential, str]:
    """Make a credential; the secret is returned once and stored as its SHA-256.

    Without products it reaches all that the payer subscribes to. `customer` is the
    payer when it is not the agent's own (it needs an AgentGrant). Raises AforoError
    400 `credential_kind` and 422 `not_granted`.
    """
    fixed = kind_for(agent, products)
    if kind is not None and kind != fixed:
        raise AforoError(
            "credential_kind", 400, f"It must be {fixed.label.lower()}.", field="kind"
        )
    payer = customer or agent.customer
    _check_payer(agent, payer)
    books.configure([payer.pk])
    credential, secret = _make(
        agent,
        payer,
        kind=fixed,
        product_ids=[product.pk for product in products],
        name=name,
        expires_at=expires_at,
    )
    audit.record(
        tenant=agent.tenant_id,
        actor=actor,
        action="credential.issued",
        target=credential,
        changes={
            "agent": [None, agent.name],
            "kind": [None, fixed.value],
            "products": [None, ", ".join(p.name for p in products) or "all"],
        },
    )
    return credential, secret


def _check_payer(agent: Agent, payer: Customer) -> None:
    """Refuse a payer that has no part in the agent."""
    if payer.pk == agent.customer_id:
        return
    now = clock.now()
    granted = agent.grants.filter(customer=payer, valid_from__lte=now).exclude(
        valid_to__lte=now
    )
    if not granted.exists():
        raise AforoError("not_granted", 422, f"{payer} may not use {agent}.")


def _make(
    agent: Agent,
    payer: Customer,
    *,
    kind: Credential.Kind,
    product_ids: Sequence[uuid.UUID],
    name: str,
    expires_at: dt.datetime | None = None,
    replaces: Credential | None = None,
) -> tuple[Credential, str]:
    """Mint a key in the payer's slot and store its digest."""
    env = "test" if agent.tenant.sandbox else "live"
    secret = crypto.mint_key(_PREFIX[kind], env, payer.tag)
    key_id = ids.new_id()
    client_id = None
    if kind == Kind.CLIENT_CREDENTIALS:
        # The client id stays the same when the secret is rotated.
        client_id = replaces.client_id if replaces else ids.public("agt", key_id)
    credential = Credential.objects.create(
        id=key_id,
        tenant_id=agent.tenant_id,
        customer=payer,
        agent=agent,
        kind=kind,
        name=name,
        client_id=client_id,
        digest=crypto.hash_key(secret),
        hint=Credential.hint_of(secret),
        product_ids=list(product_ids),
        expires_at=expires_at,
        replaces=replaces,
    )
    return credential, secret


@transaction.atomic
def rotate(
    *, credential: Credential, overlap: str, actor: User | None
) -> tuple[Credential, str]:
    """Make the next secret; the old one works for "now", "1h", "24h" or "7d" more.

    At most two secrets are live: one that the old one had replaced ends at once.
    Raises AforoError 422 `unknown_overlap`, 409 `not_live` or `already_rotated`.
    """
    if overlap not in OVERLAPS:
        raise AforoError(
            "unknown_overlap", 422, f"One of {', '.join(OVERLAPS)}.", field="overlap"
        )
    books.configure([credential.customer_id])
    old = Credential.objects.select_for_update().get(pk=credential.pk)
    if not old.is_live:
        raise AforoError("not_live", 409, "The credential is revoked or expired.")
    if any(later.is_live for later in old.replaced_by.all()):
        raise AforoError("already_rotated", 409, "Rotate the newer secret instead.")
    now = clock.now()
    earlier = old.replaces
    made, secret = _make(
        old.agent,
        old.customer,
        kind=Kind(old.kind),
        product_ids=old.product_ids,
        name=old.name,
        replaces=old,
    )
    ends_at = now + OVERLAPS[overlap]
    if ends_at == now:
        _end(old, now)
    else:
        old.expires_at = min(ends_at, old.expires_at or ends_at)
        old.save(update_fields=["expires_at"])
    if earlier is not None and earlier.is_live:
        _end(earlier, now)
    audit.record(
        tenant=old.tenant_id,
        actor=actor,
        action="credential.rotated",
        target=made,
        changes={"hint": [old.hint, made.hint], "overlap": [None, overlap]},
    )
    return made, secret


@transaction.atomic
def revoke(
    *, credential: Credential, actor: User | None, reason: str = ""
) -> Credential:
    """Refuse a secret from now on, everywhere; again is no change."""
    books.configure([credential.customer_id])
    credential = Credential.objects.select_for_update().get(pk=credential.pk)
    if credential.revoked_at is not None:
        return credential
    audit.record(
        tenant=credential.tenant_id,
        actor=actor,
        action="credential.revoked",
        target=credential,
        changes={"state": ["live", "revoked"]},
        reason=reason,
    )
    _end(credential, clock.now())
    return credential


def _end(credential: Credential, now: dt.datetime) -> None:
    """Revoke a secret: the edge hears of it before the commit."""
    credential.revoked_at = now
    credential.save(update_fields=["revoked_at"])
    restricting.send(
        sender=None,
        customer_id=credential.customer_id,
        credential_digest=credential.digest,
    )
