"""Service keys: shown once, scoped, revoked before the record says so."""

from __future__ import annotations

import pytest

from aforo.core import service_keys
from aforo.core.models import AuditEntry, ServiceKey
from aforo.core.signals import service_key_revoking, service_keys_changed
from aforo.lib import crypto
from aforo.lib.errors import AforoError
from tests.factories import make_tenant, make_user

pytestmark = pytest.mark.django_db


def test_a_key_is_in_the_tenants_slot_and_stored_as_its_digest():
    tenant = make_tenant()
    key, secret = service_keys.issue(
        tenant=tenant, name="gateway", scopes=["check", "ingest"], actor=make_user()
    )
    parsed = crypto.parse_key(secret)
    assert parsed is not None
    assert (parsed.prefix, parsed.env, parsed.tag) == ("svc", "live", tenant.tag)
    assert (key.digest, key.last_four) == (crypto.hash_key(secret), secret[-4:])
    assert key.scopes == ["ingest", "check"]
    assert secret not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize("scopes", [[], ["write"], ["check", "everything"]])
def test_scopes_are_of_the_known_ones(scopes):
    with pytest.raises(AforoError, match="unknown_scope"):
        service_keys.issue(tenant=make_tenant(), name="g", scopes=scopes, actor=None)


def test_a_revocation_is_told_before_the_commit_and_happens_once():
    tenant = make_tenant()
    key, _ = service_keys.issue(
        tenant=tenant, name="gateway", scopes=["check"], actor=None
    )
    heard = []

    def hear(sender, signal, **facts):
        heard.append(facts)

    service_key_revoking.connect(hear)
    first = service_keys.revoke(key=key, actor=None, reason="leaked")
    second = service_keys.revoke(key=key, actor=None)
    service_key_revoking.disconnect(hear)
    assert heard == [{"tenant_id": tenant.pk, "key_id": key.pk, "digest": key.digest}]
    assert first.revoked_at == second.revoked_at
    assert not ServiceKey.objects.get().is_live


def test_a_new_key_is_told_after_the_commit(django_capture_on_commit_callbacks):
    heard = []

    def hear(sender, signal, **facts):
        heard.append(facts)

    service_keys_changed.connect(hear)
    with django_capture_on_commit_callbacks(execute=True):
        key, _ = service_keys.issue(
            tenant=make_tenant(), name="g", scopes=["read"], actor=None
        )
        assert heard == []
    service_keys_changed.disconnect(hear)
    assert heard == [{"tenant_id": key.tenant_id, "key_ids": [key.pk]}]
