"""The control room and the page of one decision, on real Postgres and Redis."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.test import Client

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock
from billing.models import Agent
from guard import door, journal, observing, overrides, projection, stores
from guard.models import Decision, DoorCount, Override
from guard.tests.doors import Asker, DjangoDoor
from portal.guardroom import limited
from portal.tests.scene import Scene, make_scene, sign_in

CAP = "spend_cap.customer.period"


@pytest.fixture
def store(tmp_path: Any, settings: Any) -> Iterator[redis.Redis]:
    """The guard's Redis and a spool, empty; doors as after their start."""
    settings.GUARD_JOURNAL_DIR = tmp_path / "journal"
    settings.GUARD_TIMEOUT_S = 5
    caches = (door.memory, door.journal, door.recovery, door.blocking)
    for cache in (*caches, stores.for_checks, stores.for_pages):
        cache.cache_clear()
    with redis.Redis.from_url(django_settings.GUARD_REDIS_URL) as client:
        client.flushdb()
        yield client
        client.flushdb()
    for cache in (*caches, stores.for_checks, stores.for_pages):
        cache.cache_clear()


@pytest.fixture
def scene(db: None, store: redis.Redis) -> Scene:
    """A seller whose customer has a cap of $1, known to the edge; the clock runs."""
    with clock.travel(dt.datetime(2026, 11, 18, 12, tzinfo=dt.UTC)):
        made = make_scene()
    made.customer.spend_cap = 1
    made.customer.save()
    projection.project(made.customer.pk)
    return made


@pytest.fixture
def caller(scene: Scene) -> Asker:
    """The customer's app, asking the Django door."""
    return Asker(DjangoDoor(), f"Bearer {scene.shop.secret}")


@pytest.fixture
def owner(scene: Scene) -> Client:
    """A browser of the owner."""
    return sign_in(scene, Role.OWNER)


def collect() -> None:
    """Store what the door spooled."""
    door.journal()._opened = 0
    door.journal().rotate()
    journal.collect(django_settings.GUARD_JOURNAL_DIR)


@pytest.fixture
def denied(caller: Asker) -> Decision:
    """A call that the cap refused, stored."""
    reply = caller.ask(request_id="req-cap", estimate={"amount": "7.5"})
    assert reply.status == 429
    collect()
    row = Decision.objects.get()
    assert row.public_id == reply.json["decision_id"]
    return row


def contents(store: redis.Redis) -> dict[bytes, Any]:
    """Return all hashes of the store; how they are laid out says nothing."""
    keys: Any = store.keys("*")
    return {k: store.hgetall(k) for k in keys if store.type(k) == b"hash"}


def dear(caller: Asker) -> Any:
    """Ask for a call that the cap has no room for."""
    return caller.ask(estimate={"amount": "7.5"})


def text(answer: Any) -> str:
    """Return what a page says, its markup and spare blanks left out."""
    plain = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return re.sub(r"\s+", " ", plain.replace("&#x27;", "'"))


def test_an_empty_control_room_says_that_nobody_is_limited(owner: Client) -> None:
    said = text(owner.get("/guard"))
    for words in ("Enforcing", "Nobody is limited", "Nothing was refused"):
        assert words in said


def test_who_meets_a_limit_is_listed_with_its_figures_and_deeds(
    owner: Client, denied: Decision, scene: Scene
) -> None:
    answer = owner.get("/guard")
    (row,) = limited.now_limited(scene.tenant, clock.now())
    assert (row.state, row.code, row.count, row.verified) == ("deny", CAP, 1, True)
    said = text(answer)
    assert f"{row.used}" in said
    assert "of $1.00" in row.used
    assert f"Release 1 h {scene.agent.name}" in said
    assert denied.public_id in answer.content.decode()


def test_a_limit_that_has_room_again_limits_nobody(
    denied: Decision, scene: Scene
) -> None:
    scene.customer.spend_cap = 100
    scene.customer.save()
    projection.project(scene.customer.pk)
    assert limited.now_limited(scene.tenant, clock.now()) == []


def test_without_redis_the_page_says_fail_open_and_shows_what_was_last_heard(
    owner: Client, denied: Decision, settings: Any
) -> None:
    settings.GUARD_REDIS_URL = "redis://127.0.0.1:1/0"
    stores.for_pages.cache_clear()
    said = text(owner.get("/guard"))
    assert "Fail-open" in said
    assert "as last heard" in said


def test_calls_that_passed_unjudged_are_counted_before_anybody_stores_them(
    owner: Client, caller: Asker, settings: Any, scene: Scene
) -> None:
    assert caller.ask().status in (200, 429)  # The door knows the caller.
    settings.GUARD_REDIS_URL = "redis://127.0.0.1:1/0"
    stores.for_checks.cache_clear()
    door.blocking.cache_clear()
    assert caller.ask().json["degraded"] is True
    door.journal()._opened = 0
    door.journal().rotate()
    assert not DoorCount.objects.exists()
    values = owner.get("/guard/poll").json()["values"]
    assert ">1<" in values["guard.open"] or values["guard.open"].endswith("1</span>")


def test_the_tail_is_filtered_by_the_address_and_answers_what_is_newer(
    owner: Client, denied: Decision, scene: Scene
) -> None:
    def items(query: str) -> list[str]:
        return [i["id"] for i in owner.get(f"/guard/poll?{query}").json()["items"]]

    assert items("") == [denied.public_id]
    assert items(f"newest={denied.public_id}") == []
    for query in (
        f"reason={CAP}",
        f"customer={scene.customer.public_id}",
        f"customer={scene.customer.name[:4]}",
        f"agent={scene.agent.public_id}",
        "state=deny",
    ):
        assert items(query) == [denied.public_id], query
        assert denied.public_id in owner.get(f"/guard?{query}").content.decode()
    for query in ("reason=wallet.customer.balance", "customer=nobody", "state=warn"):
        assert items(query) == [], query


def test_the_series_counts_whole_minutes_and_the_rate_the_last_two(
    owner: Client, scene: Scene
) -> None:
    this = clock.now().replace(second=0, microsecond=0)
    for back, allowed, warned in ((1, 60, 6), (10, 40, 0)):
        DoorCount.objects.create(
            tenant=scene.tenant,
            minute=this - dt.timedelta(minutes=back),
            allowed=allowed,
            warned=warned,
            denied=4,
        )
    answer = owner.get("/guard")
    said = text(answer)
    assert "108 checks in 60 minutes, 8 blocked" in said
    assert "Allowed 94" in said
    assert "Warned 6" in said


def test_what_the_decision_page_says_is_what_the_caller_was_told(
    owner: Client, caller: Asker, scene: Scene
) -> None:
    reply = caller.ask(request_id="req-words", estimate={"amount": "7.5"})
    collect()
    problem = reply.json
    answer = owner.get(f"/guard/decisions/{problem['decision_id']}")
    said = text(answer)
    assert problem["detail"] in said
    assert problem["reason_code"] in said
    assert scene.customer.name in said
    assert "$7.50" in said
    for link in ("/events?customer=", "/analytics/usage?customer=", "/upcoming"):
        assert link in answer.content.decode()


def test_the_figure_behind_a_cap_is_the_ledger_and_what_is_in_flight(
    owner: Client, denied: Decision, scene: Scene
) -> None:
    said = text(owner.get(f"/guard/decisions/{denied.public_id}"))
    assert "Rated usage, by the ledger" in said
    assert "Reserved by 0 calls in flight" in said


def test_a_replay_asks_the_edge_now_and_holds_nothing(
    owner: Client, denied: Decision, scene: Scene, store: redis.Redis
) -> None:
    path = f"/guard/decisions/{denied.public_id}?replay=1"
    assert "The same call now" in text(owner.get(path))
    scene.customer.spend_cap = 1_000
    scene.customer.save()
    projection.project(scene.customer.pk)
    before = contents(store)
    assert "every limit has room for it" in text(owner.get(path))
    assert contents(store) == before


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "every limit has room for it"),
        ("&amount=0.5", "every limit has room for it"),
        ("&amount=50", "Blocked: customer spend cap."),
        ("&agent=nobody", "There is no agent “nobody”"),
        ("&amount=x", "Enter a number"),
    ],
)
def test_anybody_of_staff_may_ask_whether_a_call_would_pass(
    scene: Scene, query: str, words: str
) -> None:
    viewer = sign_in(scene, Role.VIEWER)
    name = scene.customer.public_id
    assert words in text(viewer.get(f"/guard/ask?customer={name}{query}"))


def confirm(browser: Client, path: str, **given: str) -> Any:
    """Open the page that asks, confirm it, and return the answer after it."""
    assert browser.get(path).status_code == 200
    return browser.post(path, given, follow=True)


def test_a_release_lifts_the_limit_is_listed_and_can_be_undone(
    owner: Client,
    denied: Decision,
    caller: Asker,
    scene: Scene,
    django_capture_on_commit_callbacks: Any,
) -> None:
    path = f"/guard/subjects/{scene.agent.public_id}/release?limit={CAP}"
    with django_capture_on_commit_callbacks(execute=True):
        answer = confirm(owner, path, lasts="60", reason="on the phone")
    assert "is released from" in text(answer)
    assert dear(caller).status == 200
    made = Override.objects.get()
    assert "Decided by people" in text(owner.get("/guard"))
    with django_capture_on_commit_callbacks(execute=True):
        confirm(owner, f"/guard/overrides/{made.public_id}/undo", reason="")
    assert dear(caller).status == 429
    actions = AuditEntry.objects.filter(action__startswith="guard.")
    assert set(actions.values_list("action", flat=True)) == {
        "guard.released",
        "guard.override_ended",
    }


def test_a_block_is_met_by_the_next_call_and_an_unblock_too(
    owner: Client,
    caller: Asker,
    scene: Scene,
    django_capture_on_commit_callbacks: Any,
) -> None:
    base = f"/guard/subjects/{scene.agent.public_id}"
    with django_capture_on_commit_callbacks(execute=True):
        confirm(owner, f"{base}/block", reason="runs away")
    assert caller.ask().json["code"] == "paused"
    (row,) = limited.now_limited(scene.tenant, clock.now())
    assert (row.state, row.code) == ("paused", "agent.paused")
    with django_capture_on_commit_callbacks(execute=True):
        confirm(owner, f"{base}/unblock", reason="")
    assert Agent.objects.get(pk=scene.agent.pk).state == "active"
    assert caller.ask().json.get("code") != "paused"


def test_a_throttle_slows_the_next_call(
    owner: Client, caller: Asker, scene: Scene, django_capture_on_commit_callbacks: Any
) -> None:
    scene.customer.spend_cap = None
    scene.customer.save()
    path = f"/guard/subjects/{scene.customer.public_id}/throttle"
    with django_capture_on_commit_callbacks(execute=True):
        confirm(owner, path, lasts="15", reason="")
    assert caller.ask().json["reason_code"] == "customer.throttled"


def test_allow_once_lets_one_call_pass(
    owner: Client,
    denied: Decision,
    caller: Asker,
    django_capture_on_commit_callbacks: Any,
) -> None:
    path = f"/guard/decisions/{denied.public_id}/allow-once"
    with django_capture_on_commit_callbacks(execute=True):
        confirm(owner, path, reason="the contract is signed")
    assert [dear(caller).status for _ in range(2)] == [200, 429]


def test_what_is_snoozed_is_not_listed(
    owner: Client, denied: Decision, scene: Scene
) -> None:
    key = f"limit:{scene.agent.public_id}:{CAP}"
    confirm(owner, f"/guard/snooze?key={key}", lasts="60", reason="")
    assert "Nobody is limited" in text(owner.get("/guard"))


def test_the_panic_switch_needs_the_tenants_name_and_shows_on_every_page(
    owner: Client,
    denied: Decision,
    caller: Asker,
    scene: Scene,
    django_capture_on_commit_callbacks: Any,
) -> None:
    path = "/guard/observe-only"
    wrong = owner.post(path, {"typed": "wrong", "reason": "panic"})
    assert wrong.status_code == 422
    assert "exactly as it stands" in text(wrong)
    with django_capture_on_commit_callbacks(execute=True):
        confirm(owner, path, typed=scene.tenant.name, reason="panic")
    assert dear(caller).json["observe_only"] is True
    for page in ("/", "/customers", "/audit", "/guard"):
        assert "Guard is observe-only." in text(owner.get(page)), page
    with django_capture_on_commit_callbacks(execute=True):
        confirm(owner, path, reason="fixed")
    assert dear(caller).status == 429
    assert observing.current(scene.tenant, clock.now()) is None
    assert "Guard is observe-only." not in text(owner.get("/"))


@pytest.mark.parametrize(
    "path",
    [
        "/guard/observe-only",
        "/guard/snooze?key=x",
        "/guard/subjects/{agent}/block",
        "/guard/subjects/{agent}/throttle",
        "/guard/subjects/{agent}/release?limit=" + CAP,
        "/guard/decisions/{decision}/allow-once",
    ],
)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.FINANCE, Role.DEVELOPER])
def test_only_owner_and_operations_decide(
    scene: Scene, denied: Decision, path: str, role: Role
) -> None:
    browser = sign_in(scene, role)
    where = path.format(agent=scene.agent.public_id, decision=denied.public_id)
    assert browser.get(where).status_code == 403
    assert browser.post(where, {"typed": scene.tenant.name}).status_code == 403
    assert not Override.objects.exists()


def test_developers_see_no_control_room(scene: Scene, denied: Decision) -> None:
    developer = sign_in(scene, Role.DEVELOPER)
    for path in ("/guard", "/guard/poll", f"/guard/decisions/{denied.public_id}"):
        assert developer.get(path).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/guard/decisions/dec_none",
        "/guard/overrides/ovr_none/undo",
        "/guard/subjects/agt_none/block",
        "/guard/subjects/{agent}/explode",
        "/guard/subjects/{agent}/release?limit=agent.paused",
        "/guard/snooze",
    ],
)
def test_what_is_not_there_is_not_found(owner: Client, scene: Scene, path: str) -> None:
    answer = owner.get(path.format(agent=scene.agent.public_id))
    assert answer.status_code == 404


def test_an_undone_override_says_so(owner: Client, scene: Scene) -> None:
    made = overrides.snooze(tenant=scene.tenant, key="x", actor=scene.shop.owner)
    path = f"/guard/overrides/{made.public_id}/undo"
    confirm(owner, path, reason="")
    assert "It is over already." in text(owner.post(path, {"reason": ""}))
