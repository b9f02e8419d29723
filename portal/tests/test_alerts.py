"""The pages of alerts and webhooks."""

from __future__ import annotations

from typing import Any

import pytest

from aforo.core.happenings import Kind, Severity, tell
from guard import alert_rules, alerts, deliveries, webhooks
from guard.models import AlertRule, Delivery, WebhookEndpoint
from guard.tests.receiver import receiver
from portal.tests.scene import Scene, sign_in
from tests.factories import make_shop

pytestmark = pytest.mark.django_db


def spike(scene: Scene) -> None:
    tell(
        Kind.VELOCITY,
        tenant=scene.tenant,
        scope=f"{scene.agent.public_id}/transform_data",
        severity=Severity.WARN,
        text="Writer is invoking transform_data at 400/min (normal 120/min)."
        " Investigate or pause?",
        key="1",
        customer_id=scene.customer.pk,
    )


def test_the_feed_offers_to_pause_an_agent_that_is_too_fast(scene: Scene):
    spike(scene)
    body = sign_in(scene, "operations").get("/alerts").content.decode()

    assert "400/min (normal 120/min)" in body
    assert f"/agents/{scene.agent.public_id}/pause" in body


def test_an_alert_is_made_changed_snoozed_and_fired_by_hand(scene: Scene):
    client = sign_in(scene, "operations")
    given: dict[str, Any] = {
        "name": "Half",
        "kind": "quota",
        "threshold": "50",
        "severity": "warn",
        "customer": "",
        "every": "crossing",
        "emails": "a@example.com, b@example.com",
        "enabled": "on",
    }
    assert client.post("/alerts/new", given).status_code == 302
    rule = AlertRule.objects.get()
    assert rule.emails == ["a@example.com", "b@example.com"]
    path = f"/alerts/{rule.public_id}"

    assert client.post(f"{path}/edit", {**given, "threshold": "0"}).status_code == 422
    assert client.post(f"{path}/edit", {**given, "threshold": "60"}).status_code == 302
    assert client.post(f"{path}/snooze", {"during": "1d"}).status_code == 302
    rule.refresh_from_db()
    assert (rule.threshold, rule.is_snoozed) == (60, True)
    assert client.post(f"{path}/wake").status_code == 302
    assert client.post(f"{path}/test").status_code == 302
    body = client.get(path).content.decode()
    assert "Test of the alert Half" in body
    assert "a@example.com" in body


def test_starters_are_added_from_the_page(scene: Scene):
    client = sign_in(scene, "finance")
    client.post("/alerts/starters")
    assert AlertRule.objects.count() == 4
    assert "A wallet has 20 % left" in client.get("/alerts").content.decode()


def test_viewers_read_and_change_nothing(scene: Scene):
    client = sign_in(scene, "viewer")
    for path in ("/alerts", "/webhooks"):
        assert client.get(path).status_code == 200
        assert client.get(f"{path}/new").status_code == 403
    assert client.post("/alerts/starters").status_code == 403


def test_another_tenants_things_are_404(scene: Scene):
    other = make_shop()
    rule = alert_rules.add_starters(tenant=other.tenant, actor=None)[0]
    endpoint, _ = webhooks.add(
        tenant=other.tenant, url="https://example.com/hook", actor=None
    )
    alerts.test_endpoint(endpoint=endpoint, actor=None)
    delivery = Delivery.objects.get()
    client = sign_in(scene, "owner")

    assert client.get(f"/alerts/{rule.public_id}").status_code == 404
    for deed in ("test", "switch", "remove", "rotate"):
        path = f"/webhooks/{endpoint.public_id}/{deed}"
        assert client.post(path).status_code == 404
    path = f"/webhooks/deliveries/{delivery.public_id}/replay"
    assert client.post(path).status_code == 404
    assert "example.com/hook" not in client.get("/webhooks").content.decode()


def test_an_endpoint_is_added_tested_and_its_message_replayed(
    scene: Scene, settings: Any
):
    settings.WEBHOOK_PRIVATE = True
    client = sign_in(scene, "operations")
    with receiver() as there:
        answer = client.post("/webhooks/new", {"url": there.url}, follow=True)
        secret = answer.context["kept"]["secret"]
        assert secret.startswith("whsec_")
        endpoint = WebhookEndpoint.objects.get()
        client.post(f"/webhooks/{endpoint.public_id}/test")
        deliveries.run()
        row = Delivery.objects.get()
        body = client.get("/webhooks").content.decode()
        assert row.public_id in body
        assert secret not in body
        client.post(f"/webhooks/deliveries/{row.public_id}/replay")
        deliveries.run()
    assert there.ids() == [row.public_id] * 2
