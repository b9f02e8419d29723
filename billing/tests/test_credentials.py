"""Credentials: the kind the product fixes, shown once, two live secrets at most."""

from __future__ import annotations

import datetime as dt

import pytest

from aforo.core.models import AuditEntry
from aforo.lib import clock, crypto, ids
from aforo.lib.errors import AforoError
from billing import accounts, credentials
from billing.models import AgentGrant, Credential
from billing.signals import restricting
from billing.tests.cast import HOUR, make_cast
from catalog.models import ProductType

pytestmark = pytest.mark.django_db


@pytest.fixture
def ended():
    """Digests that the edge was told to refuse."""
    heard = []

    def hear(sender, signal, **facts):
        heard.append(facts["credential_digest"])

    restricting.connect(hear, weak=False)
    yield heard
    restricting.disconnect(hear)


def issue(cast, **more):
    """Issue a credential for the cast's product."""
    return credentials.issue(
        agent=cast.agent,
        products=more.pop("products", [cast.product]),
        actor=cast.owner,
        **more,
    )


@pytest.mark.parametrize("type", [ProductType.STANDARD_API, ProductType.AGENTIC_API])
def test_apis_take_a_bearer_token_in_the_customers_slot(type):
    cast = make_cast(type=type)
    credential, secret = issue(cast)
    parsed = crypto.parse_key(secret)
    assert parsed is not None
    assert (parsed.prefix, parsed.env, parsed.tag) == (
        "sk",
        "live",
        cast.customer.tag,
    )
    assert credential.kind == Credential.Kind.BEARER_TOKEN
    assert credential.client_id is None


@pytest.mark.parametrize("type", [ProductType.AI_AGENT, ProductType.MCP_SERVER])
def test_agents_take_a_client_id_and_secret(type):
    cast = make_cast(type=type)
    credential, secret = issue(cast)
    assert secret.startswith("cs_live_")
    assert ids.parse_public("agt", credential.client_id) == credential.pk


def test_the_secret_is_stored_as_its_digest_only():
    credential, secret = issue(make_cast())
    stored = Credential.objects.filter(pk=credential.pk).values().get()
    assert stored["digest"] == crypto.hash_key(secret)
    assert stored["hint"] == f"sk_live_…{secret[-4:]}"
    assert secret not in str(stored)
    assert secret not in str(list(AuditEntry.objects.values()))


def test_a_sandbox_issues_test_keys():
    cast = make_cast()
    cast.tenant.sandbox = True
    cast.tenant.save()
    assert issue(cast)[1].startswith("sk_test_")


@pytest.mark.parametrize(
    ("_case", "held", "sold"),
    [
        ("an app on an MCP server", ProductType.STANDARD_API, ProductType.MCP_SERVER),
        ("an agent on an API", ProductType.AI_AGENT, ProductType.AGENTIC_API),
    ],
)
def test_a_kind_that_the_product_does_not_take_is_refused(_case, held, sold):
    cast = make_cast(type=held)
    other = make_cast(type=sold, tenant=cast.tenant)
    with pytest.raises(AforoError, match="credential_kind") as refusal:
        issue(cast, products=[cast.product, other.product])
    assert refusal.value.status == 400


def test_a_kind_that_is_asked_for_wrongly_is_refused():
    with pytest.raises(AforoError, match="credential_kind"):
        issue(make_cast(), kind=Credential.Kind.CLIENT_CREDENTIALS)


def test_another_customer_pays_only_with_a_grant():
    cast = make_cast()
    payer = accounts.create_customer(tenant=cast.tenant, name="Payer", actor=None)
    with pytest.raises(AforoError, match="not_granted"):
        issue(cast, customer=payer)
    team = accounts.create_team(customer=payer, name="Users", actor=None)
    AgentGrant.objects.create(
        tenant=cast.tenant, agent=cast.agent, team=team, customer=payer
    )
    credential, secret = issue(cast, customer=payer)
    assert credential.customer == payer
    assert secret.startswith(f"sk_live_{payer.tag}_")


def test_a_rotation_keeps_the_old_secret_for_the_overlap(ended):
    cast = make_cast(type=ProductType.AI_AGENT)
    old, _ = issue(cast)
    new, secret = credentials.rotate(credential=old, overlap="1h", actor=cast.owner)
    old.refresh_from_db()
    assert (old.is_live, new.is_live) == (True, True)
    assert new.client_id == old.client_id
    assert new.product_ids == old.product_ids
    assert new.digest == crypto.hash_key(secret) != old.digest
    with clock.travel(clock.now() + HOUR * 2):
        assert not old.is_live
    assert ended == []


def test_a_rotation_now_ends_the_old_secret_before_the_commit(ended):
    old, _ = issue(make_cast())
    credentials.rotate(credential=old, overlap="now", actor=None)
    old.refresh_from_db()
    assert not old.is_live
    assert ended == [old.digest]


def test_there_are_never_three_live_secrets(ended):
    first, _ = issue(make_cast())
    second, _ = credentials.rotate(credential=first, overlap="7d", actor=None)
    credentials.rotate(credential=second, overlap="7d", actor=None)
    live = [c for c in Credential.objects.all() if c.is_live]
    assert len(live) == 2
    assert ended == [first.digest]


def test_a_secret_is_rotated_once():
    first, _ = issue(make_cast())
    credentials.rotate(credential=first, overlap="24h", actor=None)
    with pytest.raises(AforoError, match="already_rotated"):
        credentials.rotate(credential=first, overlap="24h", actor=None)


def test_a_revoked_secret_is_refused_before_the_commit_and_for_ever(ended):
    cast = make_cast()
    credential, _ = issue(cast)
    revoked = credentials.revoke(
        credential=credential, actor=cast.owner, reason="leaked"
    )
    again = credentials.revoke(credential=credential, actor=cast.owner)
    assert ended == [credential.digest]
    assert again.revoked_at == revoked.revoked_at
    assert AuditEntry.objects.get(action="credential.revoked").reason == "leaked"
    with pytest.raises(AforoError, match="not_live"):
        credentials.rotate(credential=credential, overlap="1h", actor=None)


def test_an_unknown_overlap_is_refused():
    credential, _ = issue(make_cast())
    with pytest.raises(AforoError, match="unknown_overlap"):
        credentials.rotate(credential=credential, overlap="1y", actor=None)


def test_the_last_use_is_noted_once_a_minute_and_never_moves_back() -> None:
    key, _ = issue(make_cast())
    at = clock.now()

    def noted(seconds: int) -> float:
        used = at + dt.timedelta(seconds=seconds)
        credentials.note_used({key.pk: used})
        key.refresh_from_db()
        assert key.last_used_at is not None
        return (key.last_used_at - at).total_seconds()

    assert [noted(s) for s in (0, 30, 60, 20, 200)] == [0, 0, 60, 60, 200]
