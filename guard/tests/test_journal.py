from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from aforo.core.models import Tenant
from aforo.lib import ids
from guard import journal, tasks, wording
from guard.asking import parse
from guard.engine.decision import CheckRequest, Decision, Facts, Limit, Outcome, Reason
from guard.judging import Verdict
from guard.models import Decision as StoredDecision
from guard.models import DoorCount, RuleCount
from guard.tests.test_outage import FACTS
from tests.factories import make_shop, make_tenant

ASK = parse(b'{"request_id": "r1", "tool_name": "search", "api_key": "sk_secret"}')


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant()


def facts_of(tenant: Tenant) -> Facts:
    customer = ids.public("cus", ids.new_id())
    return structs.replace(FACTS, tenant_id=tenant.public_id, customer_id=customer)


def verdict(tenant: Tenant, outcome: Outcome, *, degraded: bool = False) -> Verdict:
    name = wording.decision_id()
    decision = Decision(
        outcome=outcome,
        reason=Reason.WALLET if outcome == Outcome.DENY else None,
        decision_id=name,
        now_ms=time.time_ns() // 1_000_000,
        facts=facts_of(tenant),
        degraded=degraded,
    )
    return Verdict(decision, CheckRequest("tag", "r1", name), "timeout" * degraded)


@pytest.fixture
def spool(tmp_path: Path) -> journal.Journal:
    return journal.Journal(tmp_path)


def finish(spool: journal.Journal) -> None:
    spool._opened = 0.0
    spool.rotate()


def test_refusals_and_degraded_passes_are_stored_and_others_counted(
    tenant: Tenant, spool: journal.Journal, tmp_path: Path
) -> None:
    for _ in range(5):
        spool.note(verdict(tenant, Outcome.ALLOW), ASK, 90)
    spool.note(verdict(tenant, Outcome.DENY), ASK, 90)
    spool.note(verdict(tenant, Outcome.ALLOW, degraded=True), ASK, 90)
    finish(spool)
    assert journal.collect(tmp_path) == 2
    counts = DoorCount.objects.all()
    assert sum(row.allowed for row in counts) == 6
    assert (sum(r.denied for r in counts), sum(r.degraded for r in counts)) == (1, 1)
    denied = StoredDecision.objects.get(decision="deny")
    assert denied.tenant == tenant
    assert denied.reason_code == "wallet.customer.balance"
    assert denied.request_id == "r1"
    assert denied.inputs["tool_name"] == "search"
    assert "sk_secret" not in str(denied.inputs)
    degraded = StoredDecision.objects.get(degraded=True)
    assert degraded.inputs["fault"] == "timeout"
    assert list(tmp_path.iterdir()) == []


def test_a_check_notes_when_its_key_was_used(
    spool: journal.Journal, tmp_path: Path, db: None
) -> None:
    shop = make_shop()
    said = verdict(shop.tenant, Outcome.ALLOW)
    key = ids.public("crd", shop.credential.pk)
    facts = structs.replace(facts_of(shop.tenant), credential_id=key)
    told = structs.replace(said.decision, facts=facts)
    said = structs.replace(said, decision=told)
    spool.note(said, ASK, 90)
    finish(spool)
    journal.collect(tmp_path)
    shop.credential.refresh_from_db()
    assert shop.credential.last_used_at == wording.instant(said.decision.now_ms)


def test_a_check_notes_when_its_service_key_was_used(
    spool: journal.Journal, tmp_path: Path, db: None
) -> None:
    shop = make_shop()
    key = ids.public("svk", shop.service_key.pk)
    said = verdict(shop.tenant, Outcome.ALLOW)
    asked = structs.replace(said.request, tenant_id=ids.public("ten", shop.tenant.pk))
    spool.note(structs.replace(said, request=asked, service_key=key), ASK, 90)
    finish(spool)
    journal.collect(tmp_path)
    shop.service_key.refresh_from_db()
    assert shop.service_key.last_used_at == wording.instant(said.decision.now_ms)


def test_a_file_that_is_read_twice_stores_its_decisions_once(
    tenant: Tenant, spool: journal.Journal, tmp_path: Path
) -> None:
    spool.note(verdict(tenant, Outcome.DENY), ASK, 90)
    finish(spool)
    (path,) = tmp_path.iterdir()
    copy = path.read_bytes()
    journal.collect(tmp_path)
    path.write_bytes(copy)
    journal.collect(tmp_path)
    assert StoredDecision.objects.count() == 1


def test_a_degraded_pass_is_on_disk_at_once(
    tenant: Tenant, spool: journal.Journal, tmp_path: Path
) -> None:
    spool._opened = time.monotonic()
    spool.note(verdict(tenant, Outcome.ALLOW, degraded=True), ASK, 90)
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".open"
    assert b'"degraded":true' in path.read_bytes()


def test_a_line_that_a_death_cut_short_is_left_out(
    tenant: Tenant, spool: journal.Journal, tmp_path: Path
) -> None:
    spool.note(verdict(tenant, Outcome.DENY), ASK, 90)
    finish(spool)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + b'{"id": "cut')
    assert journal.collect(tmp_path) == 1


def test_the_file_of_a_dead_door_is_taken_when_it_is_old(
    tenant: Tenant, spool: journal.Journal, tmp_path: Path
) -> None:
    spool._opened = time.monotonic()
    spool.note(verdict(tenant, Outcome.ALLOW, degraded=True), ASK, 90)
    (path,) = tmp_path.iterdir()
    assert journal.collect(tmp_path) == 0
    old = time.time_ns() - int(6e9)
    path.rename(tmp_path / f"{old}-1-0.open")
    assert journal.collect(tmp_path) == 1


def test_the_beat_collects(tenant: Tenant, settings: Any, tmp_path: Path) -> None:
    settings.GUARD_JOURNAL_DIR = tmp_path
    spool = journal.Journal(tmp_path)
    spool.note(verdict(tenant, Outcome.DENY), ASK, 90)
    finish(spool)
    tasks.collect_decisions()
    assert StoredDecision.objects.filter(tenant=tenant).count() == 1


def stopped_by(tenant: Tenant, *rules: str, customer: str, shadow: bool) -> Verdict:
    """Return a verdict of one customer's contract that rules stopped, or would have."""
    said = verdict(tenant, Outcome.ALLOW if shadow else Outcome.DENY)
    facts = structs.replace(
        facts_of(tenant),
        customer_id=customer,
        subscription_id=ids.public("sub", uuid.UUID(int=7)),
    )
    limits = tuple(Limit(rule, "tokens", 5, 5, 0) for rule in rules)
    decision = structs.replace(
        said.decision,
        facts=facts,
        reason=None if shadow else Reason(rules[0]),
        limits=() if shadow else limits,
        shadow=limits if shadow else (),
    )
    return structs.replace(said, decision=decision)


def test_what_shadow_would_have_stopped_is_kept_and_every_one_is_counted(
    tenant: Tenant, spool: journal.Journal, tmp_path: Path
) -> None:
    quota, rate = "quota.subscription.period", "requests.subscription.minute"
    spool._opened = time.monotonic()
    spool._notes = journal.NOTES_MAX - 2  # Beyond, decisions are only counted.
    for number in (1, 1, 2, 2, 2):
        customer = ids.public("cus", uuid.UUID(int=number))
        said = stopped_by(tenant, quota, rate, customer=customer, shadow=True)
        spool.note(said, ASK, 90)
    spool.note(stopped_by(tenant, quota, customer=customer, shadow=False), ASK, 90)
    finish(spool)
    assert journal.collect(tmp_path) == 2
    kept = StoredDecision.objects.filter(decision="allow").first()
    assert kept is not None
    assert [rule["name"] for rule in kept.shadow] == [quota, rate]
    assert kept.subscription_id == uuid.UUID(int=7)
    found = {(row.customer_id.int, row.rule): row for row in RuleCount.objects.all()}
    assert {key: (row.shadowed, row.denied) for key, row in found.items()} == {
        (1, f"{quota}|tokens"): (2, 0),
        (1, rate): (2, 0),
        (2, f"{quota}|tokens"): (3, 1),
        (2, rate): (3, 0),
    }
