"""Messages reach a real receiver: signed, tried again, disabled, replayed."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import AuditEntry, Happening, Tenant
from aforo.lib import clock
from aforo.lib.errors import AforoError
from guard import alerts, deliveries, outbound, webhooks
from guard.models import Delivery, WebhookEndpoint
from guard.tests.receiver import Receiver, receiver
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = "87 % of monthly quota"


@pytest.fixture(autouse=True)
def private(settings: Any) -> None:
    settings.WEBHOOK_PRIVATE = True


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def add(tenant: Tenant, url: str, **more: Any) -> tuple[WebhookEndpoint, str]:
    return webhooks.add(tenant=tenant, url=url, actor=None, **more)


def happen(tenant: Tenant, key: str = "2026-11:80") -> Happening:
    told = tell(
        Kind.QUOTA,
        tenant=tenant,
        scope="sub_1/tokens",
        severity=Severity.WARN,
        text=TEXT,
        key=key,
        figures={"used": 870},
    )
    assert told is not None
    alerts.handle()
    return told


def only() -> Delivery:
    return Delivery.objects.get()


def make_due() -> None:
    Delivery.objects.filter(next_at__isnull=False).update(next_at=clock.now())


def test_a_message_arrives_signed_as_the_standard_says(there: Receiver):
    tenant = make_tenant()
    _, secret = add(tenant, there.url)
    told = happen(tenant)

    assert deliveries.run() == 1

    [(headers, body)] = there.got
    read = Webhook(secret).verify(body, headers)
    assert read["type"] == "quota.warn"
    assert read["data"]["id"] == told.public_id
    assert read["data"]["text"] == TEXT
    assert read["data"]["figures"] == {"used": 870}
    row = only()
    assert (row.state, row.attempts[0]["status"]) == ("delivered", 200)
    assert headers["webhook-id"] == row.public_id
    with pytest.raises(WebhookVerificationError):
        Webhook(webhooks.new_secret()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)


def test_the_secret_is_sealed_at_rest(there: Receiver):
    endpoint, secret = add(make_tenant(), there.url)

    kept = WebhookEndpoint.objects.filter(pk=endpoint.pk).values().get()

    assert secret not in json.dumps(kept, default=str)
    assert webhooks.secrets_of(endpoint, clock.now()) == [secret]
    assert secret not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_both_secrets_sign_during_the_overlap(there: Receiver):
    tenant = make_tenant()
    endpoint, old = add(tenant, there.url)
    new = webhooks.rotate(endpoint=endpoint, overlap=dt.timedelta(hours=1), actor=None)
    happen(tenant)
    deliveries.run()

    [(headers, body)] = there.got
    assert Webhook(new).verify(body, headers) == Webhook(old).verify(body, headers)
    endpoint.refresh_from_db()
    later = clock.now() + dt.timedelta(hours=2)
    assert webhooks.secrets_of(endpoint, later) == [new]


def test_a_failure_is_tried_ten_times_over_75_hours(there: Receiver):
    there.status = 500
    tenant = make_tenant()
    endpoint, _ = add(tenant, there.url)
    happen(tenant)
    began = now = clock.now()

    for _ in range(deliveries.ATTEMPTS_MAX):
        with clock.travel(now):
            assert deliveries.run() == 1
            assert deliveries.run() == 0
        row = only()
        now = row.next_at or now

    row = only()
    assert (row.state, row.attempt_count, row.next_at) == ("failed", 10, None)
    assert [a["status"] for a in row.attempts] == [500] * 10
    hours = (now - began) / dt.timedelta(hours=1)
    assert 67 < hours < 84
    assert sum(deliveries.WAITS_S) / 3_600 == pytest.approx(75, abs=1)
    assert len(set(there.ids())) == 1
    endpoint.refresh_from_db()
    assert not endpoint.enabled
    assert "took nothing" in endpoint.disabled_reason
    told = Happening.objects.get(kind=Kind.WEBHOOK)
    assert told.type == "webhook.disabled"


def test_waits_have_jitter():
    waits = {deliveries.wait_before(3) for _ in range(20)}
    assert len(waits) > 10
    assert all(w and 1_620 <= w.total_seconds() <= 1_980 for w in waits)


def test_one_that_recovers_is_delivered_and_stays_enabled(there: Receiver):
    there.status = 503
    tenant = make_tenant()
    endpoint, _ = add(tenant, there.url)
    happen(tenant)
    deliveries.run()
    endpoint.refresh_from_db()
    assert endpoint.failing_since is not None

    there.status = 204
    make_due()
    deliveries.run()

    assert only().state == "delivered"
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None


def test_gone_disables_at_once_and_enabling_sends_what_waited(there: Receiver):
    there.status = 410
    tenant = make_tenant()
    endpoint, _ = add(tenant, there.url)
    happen(tenant)
    deliveries.run()
    endpoint.refresh_from_db()
    assert not endpoint.enabled
    assert only().state == "failed"
    happen(tenant, "2026-11:100")
    assert Delivery.objects.count() == 1

    there.status = 200
    webhooks.change(endpoint=endpoint, changes={"enabled": True}, actor=None)
    deliveries.replay(only())
    deliveries.run()

    assert only().state == "delivered"
    assert Happening.objects.filter(kind=Kind.WEBHOOK, severity="ok").count() == 1


def test_messages_of_a_disabled_endpoint_wait(there: Receiver):
    tenant = make_tenant()
    endpoint, _ = add(tenant, there.url)
    happen(tenant)
    webhooks.change(endpoint=endpoint, changes={"enabled": False}, actor=None)

    assert deliveries.run() == 0
    with pytest.raises(AforoError, match="endpoint_disabled"):
        deliveries.replay(only())
    webhooks.change(endpoint=endpoint, changes={"enabled": True}, actor=None)
    assert deliveries.run() == 1
    assert there.ids() == [only().public_id]


def test_a_replay_has_the_same_id_and_body(there: Receiver):
    tenant = make_tenant()
    add(tenant, there.url)
    happen(tenant)
    deliveries.run()

    deliveries.replay(only())
    deliveries.run()

    (first, body), (second, again) = there.got
    assert first["webhook-id"] == second["webhook-id"]
    assert body == again
    assert len(only().attempts) == 2


def test_one_that_hangs_does_not_hold_up_the_others(
    there: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outbound, "TIME_MAX_S", 3)
    tenant = make_tenant()
    with receiver(hang_s=20) as slow:
        add(tenant, slow.url)
        add(tenant, there.url)
        for number in range(12):
            happen(tenant, f"key-{number}")
        began = time.monotonic()
        deliveries.run(seconds=1)
        took = time.monotonic() - began

    assert len(there.got) == 12
    assert len(slow.got) == deliveries.PER_ENDPOINT
    assert took < 10


def test_only_the_types_that_an_endpoint_names_go_there(there: Receiver):
    tenant = make_tenant()
    add(tenant, there.url, types=["margin.warn"])
    happen(tenant)

    assert deliveries.run() == 0


def test_what_was_claimed_by_a_worker_that_died_is_sent_again(there: Receiver):
    tenant = make_tenant()
    add(tenant, there.url)
    happen(tenant)
    assert len(deliveries.claim(clock.now(), most=5, full=set())) == 1
    assert deliveries.run() == 0

    with clock.travel(clock.now() + deliveries.LEASE * 1.1):
        assert deliveries.run() == 1
    assert only().state == "delivered"


def test_a_private_address_is_refused_unless_the_operator_allows_it(
    there: Receiver, settings: Any
):
    tenant = make_tenant()
    _, _ = add(tenant, there.url)
    happen(tenant)
    settings.WEBHOOK_PRIVATE = False
    with pytest.raises(AforoError, match="invalid_url"):
        add(tenant, "https://169.254.169.254/latest")
    with pytest.raises(AforoError, match="invalid_url"):
        add(tenant, there.url)

    deliveries.run()

    assert there.got == []
    assert "begins with https" in only().attempts[0]["error"]


def test_a_removed_endpoint_keeps_no_secret_and_gets_nothing(there: Receiver):
    tenant = make_tenant()
    endpoint, _ = add(tenant, there.url)
    happen(tenant)
    webhooks.remove(endpoint=endpoint, actor=None)

    assert deliveries.run() == 0
    endpoint.refresh_from_db()
    assert endpoint.secret == ""
    assert only().state == "failed"
