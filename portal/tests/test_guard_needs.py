"""What needs a person: velocity, wallets, margins; the registry and its snoozes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from billing.models import Wallet, WalletEntry
from guard import needs, overrides
from guard.needs import Need
from metering.models import UsageRollup
from portal.guardroom import needs as found
from portal.tests.scene import NOW, Scene

HOUR = dt.timedelta(hours=1)


def used(scene: Scene, at: dt.datetime, calls: int, **more: Any) -> None:
    """Add an hour's calls of a tool by the customer's agent."""
    UsageRollup.objects.create(
        **{
            "tenant": scene.tenant,
            "customer": scene.customer,
            "hour": at.replace(minute=0, second=0, microsecond=0),
            "agent_id": scene.agent.pk,
            "event_type": "mcp.tool_invoked",
            "tool_name": "transform_data",
            "currency": "USD",
            "event_count": calls,
            **more,
        }
    )


def run_away(scene: Scene) -> list[Need]:
    """Return what is found of velocity at half past twelve."""
    at = NOW + HOUR / 2
    return [n for n in found.velocity(scene.tenant, at) if "transform_data" in n.key]


def test_an_agent_at_four_times_its_average_is_named_with_figures(scene: Scene) -> None:
    for back in range(1, 5):
        used(scene, NOW - back * HOUR, 60 * 120)
    used(scene, NOW, 30 * 492)
    (need,) = run_away(scene)
    assert need.title == (
        f"{scene.agent.name} ({scene.customer.name}) invokes transform_data at"
        " 492 a minute"
    )
    assert need.text.startswith("4.1 times its average of seven days, 120 a minute.")
    assert [label for label, _ in need.actions] == ["Throttle", "Block"]


@pytest.mark.parametrize(
    ("before", "now"),
    [(120, 359), (4, 19), (0, 492)],
    ids=["less than three times", "few calls", "nothing to compare with"],
)
def test_who_is_not_much_faster_than_usual_is_not_named(
    scene: Scene, before: int, now: int
) -> None:
    if before:
        used(scene, NOW - HOUR, 60 * before)
    used(scene, NOW, 30 * now)
    assert run_away(scene) == []


@pytest.fixture
def wallet(scene: Scene) -> Wallet:
    """The customer's wallet, which must cover each call, with $50."""
    row = Wallet.objects.get(customer=scene.customer)
    row.enforced = True
    row.save()
    return row


def burn(wallet: Wallet, amount: str, left: str, at: dt.datetime) -> None:
    """Take from a wallet at an instant."""
    with clock.travel(at):
        WalletEntry.objects.create(
            tenant_id=wallet.tenant_id,
            wallet=wallet,
            customer_id=wallet.customer_id,
            kind=WalletEntry.Kind.BURN,
            amount=-Decimal(amount),
            balance_after=Decimal(left),
            title="usage",
            version=99,
        )
    Wallet.objects.filter(pk=wallet.pk).update(balance=Decimal(left))


def test_a_wallet_that_empties_within_a_day_says_when(
    scene: Scene, wallet: Wallet
) -> None:
    burn(wallet, "10", "20", NOW - HOUR / 2)
    (need,) = found.wallets(scene.tenant, NOW)
    assert need.title == (
        f"The wallet of {scene.customer.name} empties in ≈ 2 h at this rate"
    )
    assert need.tone == "warn"


def test_a_wallet_that_nobody_used_in_the_last_hour_can_wait(
    scene: Scene, wallet: Wallet
) -> None:
    burn(wallet, "10", "20", NOW - 2 * HOUR)
    assert list(found.wallets(scene.tenant, NOW)) == []


def test_an_empty_wallet_is_bad_whatever_was_used(scene: Scene, wallet: Wallet) -> None:
    Wallet.objects.filter(pk=wallet.pk).update(balance=0)
    (need,) = found.wallets(scene.tenant, NOW)
    assert (need.tone, need.title) == (
        "bad",
        f"The wallet of {scene.customer.name} is empty",
    )


def test_a_customer_that_costs_more_than_it_pays_is_named(scene: Scene) -> None:
    assert list(found.margins(scene.tenant, NOW)) == []
    # The scene's fee is $99 a month.
    used(scene, NOW - HOUR, 1, cost=Decimal(80), rated_count=1)
    (thin,) = found.margins(scene.tenant, NOW)
    assert thin.tone == "warn"
    used(scene, NOW - HOUR, 1, cost=Decimal(80), tool_name="more")
    (loss,) = found.margins(scene.tenant, NOW)
    assert loss.tone == "bad"
    assert loss.title.startswith(f"{scene.customer.name}: margin -")


def test_what_apps_register_is_listed_worst_first_and_a_snooze_hides_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "_finders", {})
    needs.register("one", lambda *_: [Need(key="a", tone="warn", title="A")])
    needs.register("two", lambda *_: [Need(key="b", tone="bad", title="B")])
    assert [n.key for n in needs.found(scene.tenant, NOW)] == ["b", "a"]
    overrides.snooze(tenant=scene.tenant, key="b", actor=scene.shop.owner, lasts=HOUR)
    assert [n.key for n in needs.found(scene.tenant, NOW)] == ["a"]
    assert [n.key for n in needs.found(scene.tenant, NOW + 2 * HOUR)] == ["b", "a"]
