"""What happened is told once, and its recovery once."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import Happening, Tenant
from aforo.core.models.happenings import type_of, types
from aforo.core.signals import happened
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db


def say(tenant: Tenant, **changes: Any) -> Happening | None:
    given: dict[str, Any] = {
        "tenant": tenant,
        "scope": "sub_1/input_tokens",
        "severity": Severity.WARN,
        "text": "87 % of monthly quota",
        "key": "2026-11:80",
        "figures": {"used": Decimal("0.870"), "limit": 1_000},
    }
    return tell(changes.pop("kind", Kind.QUOTA), **{**given, **changes})


def test_a_line_is_told_once_in_its_window():
    tenant = make_tenant()

    first, again = say(tenant), say(tenant, text="88 % of monthly quota")

    assert first is not None
    assert again is None
    assert first.figures == {"used": "0.87", "limit": 1_000}
    assert say(tenant, key="2026-12:80") is not None
    assert say(tenant, scope="sub_2/input_tokens") is not None
    assert say(make_tenant()) is not None


def test_a_worse_severity_of_the_same_key_is_told():
    tenant = make_tenant()
    say(tenant)

    assert say(tenant, severity=Severity.BLOCK) is not None


def test_a_recovery_is_told_once_and_only_after_something():
    tenant = make_tenant()
    ok = {"severity": Severity.OK, "text": "12 % of monthly quota"}

    assert say(tenant, **ok) is None
    say(tenant)
    say(tenant, severity=Severity.BLOCK)
    told = say(tenant, **ok)
    assert told is not None
    assert say(tenant, **ok) is None
    assert not Happening.objects.filter(resolved_at=None).exists()
    assert say(tenant, key="2026-12:80") is not None
    assert say(tenant, **ok) is not None


def test_news_is_told_whatever_its_severity():
    tenant = make_tenant()
    news = {"kind": Kind.INVOICE_ISSUED, "severity": Severity.OK, "scope": "inv_1"}

    assert say(tenant, key="inv_1", **news) is not None
    assert say(tenant, key="inv_1", **news) is None
    assert say(tenant, key="inv_2", **news) is not None


@pytest.mark.django_db(transaction=True)
def test_whoever_listens_hears_of_it_after_the_commit_and_may_fail():
    tenant = make_tenant()
    heard: list[Happening] = []

    def broken(**_: Any) -> None:
        raise ValueError("a listener of the test fails")

    def listen(*, happening: Happening, **_: Any) -> None:
        assert not connection.in_atomic_block
        heard.append(happening)

    happened.connect(broken)
    happened.connect(listen)
    try:
        told = say(tenant)
        say(tenant)
    finally:
        happened.disconnect(broken)
        happened.disconnect(listen)

    assert heard == [told]


@pytest.mark.django_db(transaction=True)
def test_many_tellers_at_once_tell_once():
    tenant = make_tenant()
    made: list[Happening | None] = []
    barrier = threading.Barrier(8)

    def one() -> None:
        barrier.wait()
        made.append(say(tenant))
        barrier.wait()
        made.append(say(tenant, severity=Severity.OK))
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([row for row in made if row is not None]) == 2
    assert Happening.objects.count() == 2


def test_types_have_the_names_of_the_docs():
    assert type_of("margin", "warn") == "margin.warn"
    assert type_of("agent", "block") == "agent.paused"
    assert type_of("agent", "ok") == "agent.resumed"
    assert type_of("invoice.issued", "ok") == "invoice.issued"
    assert len(types()) == len(set(types()))
