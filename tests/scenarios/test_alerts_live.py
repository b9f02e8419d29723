"""Usage crosses a quota on a running instance: told, and a webhook has the figures."""

from __future__ import annotations

import json

import pytest

from guard.tests.receiver import receiver
from tests.scenarios import stage as scene
from tests.scenarios.stage import TOKENS, until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]
QUOTA = {"metric": "input_tokens", "limit": TOKENS, "on_exceed": "deny"}
ADD = """
from aforo.core.models import Tenant
from guard import alert_rules, webhooks
tenant = Tenant.objects.get(pk={tenant!r})
print(webhooks.add(tenant=tenant, url={url!r}, actor=None)[1])
"""


def test_a_crossed_quota_reaches_the_feed_and_the_webhook_with_the_same_figures():
    limits = {"quotas": [QUOTA]}
    with (
        receiver() as there,
        scene.opened({"limits": limits}, AFORO_WEBHOOK_PRIVATE="yes") as stage,
    ):
        shop = stage.shop()
        code = ADD.format(tenant=shop.tenant_id, url=there.url)
        added = stage.instance.manage("shell", "-c", code)
        assert added.returncode == 0, added.stderr
        stage.post_until_stored(shop, [shop.event("one")])

        told = until(
            lambda: stage.rows(
                "SELECT text, severity FROM core_happening WHERE tenant_id = %s"
                " AND kind = 'quota'",
                shop.tenant_id,
            ),
            "the quota is told",
        )
        until(lambda: there.got, "the webhook is delivered")

    body = json.loads(there.got[0][1])
    assert told == [(body["data"]["text"], "block")]
    assert body["type"] == "quota.block"
    assert body["data"]["figures"]["used"] == TOKENS
    assert body["data"]["text"].startswith("100 % of monthly quota")
