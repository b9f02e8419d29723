"""A whole Aforo with shops in it, to be hurt: events, checks, kills, figures."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import psutil
import psycopg
import redis

from aforo.embedded import services
from tests import harness

# A machine that is shared with others is slow; none of these is a bar.
PATIENCE_S = 90
DRAIN_S_MAX = 30
ARM_FILE = "crash-at"
# A million input tokens cost three dollars in the plan of tests.factories.
TOKENS, PRICE = 1_000_000, Decimal(3)

T = TypeVar("T")


class Lost(Exception):
    """The connection broke, so nobody knows what became of the request."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a door answered."""

    status: int
    headers: dict[str, str]  # lower-case names
    json: Any

    @property
    def verdicts(self) -> list[str]:
        """What became of each event of a batch."""
        return [item["status"] for item in self.json["items"]]


@dataclass(frozen=True, slots=True)
class Shop:
    """What a test must know of one seller with one customer."""

    tenant_id: str
    customer_id: str
    external_id: str
    subscription_id: str
    secret: str
    service_secret: str

    def event(self, event_id: str, **members: Any) -> dict[str, Any]:
        """Return an event that costs PRICE."""
        return {
            "eventId": event_id,
            "eventType": "llm.completion",
            "customerId": self.external_id,
            "correlationId": event_id,
            "measurements": [{"metricKey": "input_tokens", "value": TOKENS}],
        } | members


@dataclass(frozen=True, slots=True)
class Effects:
    """What the books have of one customer."""

    events: int
    entries: int
    amount: Decimal
    pending: int


def once(count: int) -> Effects:
    """Return the effects of so many events, each rated exactly once."""
    return Effects(events=count, entries=count, amount=PRICE * count, pending=0)


def until(found: Callable[[], T | None], what: str, seconds: float = PATIENCE_S) -> T:
    """Return what is found as soon as it is true; AssertionError when it is not."""
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@dataclass
class Stage:
    """An instance that can be armed, and its shops."""

    instance: harness.Instance
    shops: list[Shop] = field(default_factory=list)

    # Seeding.

    def seed(self, wanted: Sequence[dict[str, Any]]) -> None:
        """Make shops, once: names are counted anew in each process."""
        command = [sys.executable, "-m", "tests.scenarios.seed", json.dumps(wanted)]
        answer = subprocess.run(
            command,
            cwd=harness.ROOT,
            env=harness.clean_env(
                AFORO_DATA_DIR=str(self.instance.data_dir),
                DJANGO_SETTINGS_MODULE="aforo.settings",
            ),
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stderr
        self.shops = [Shop(**made) for made in json.loads(answer.stdout)]

    def shop(self) -> Shop:
        """Return a shop that no other test has."""
        return self.shops.pop()

    # Calling.

    def call(self, path: str, secret: str, body: Any) -> Reply:
        """Post JSON; raises Lost when the connection breaks."""
        address = urllib.parse.urlsplit(self.instance.url).netloc
        headers = {
            "Authorization": f"Bearer {secret}",
            "Content-Type": "application/json",
            "Connection": "close",
        }
        link = http.client.HTTPConnection(address, timeout=30)
        with contextlib.closing(link):
            try:
                link.request("POST", path, json.dumps(body), headers)
                answer = link.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise Lost(repr(error)) from error
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, named, json.loads(text))

    def post(self, shop: Shop, events: Sequence[dict[str, Any]]) -> Reply:
        """Send a batch of events as the seller's gateway."""
        return self.call("/v1/events", shop.service_secret, {"events": list(events)})

    def check(self, shop: Shop, **members: Any) -> Reply:
        """Ask whether the shop's agent may go on."""
        return self.call("/v1/check", shop.secret, members)

    def judged(self, shop: Shop, **members: Any) -> Reply:
        """Ask until the edge itself answered: 25 ms are short on a busy machine."""

        def attempt() -> Reply | None:
            reply = self.check(shop, **members)
            assert reply.status in {200, 429, 503}, reply
            away = reply.status == 503 or reply.json.get("degraded")
            return None if away else reply

        return until(attempt, "the edge answered")

    def post_until_stored(self, shop: Shop, events: Sequence[dict[str, Any]]) -> Reply:
        """Send a batch as a client does: again while the server is away."""

        def attempt() -> Reply | None:
            try:
                reply = self.post(shop, events)
            except Lost:
                return None
            assert reply.status in {200, 503}, reply
            return reply if reply.status == 200 else None

        return until(attempt, "the events were stored")

    # Hurting.

    def arm(self, point: str, how: str = "KILL") -> Callable[[], None]:
        """Send a signal to the next process at a point; return how to wait for it."""
        place = self.instance.data_dir / ARM_FILE
        draft = place.with_suffix(".new")
        draft.write_text(f"{point}:{how}")
        draft.replace(place)

        def struck() -> None:
            until(lambda: not place.exists(), f"{point} was reached")

        return struck

    def kill_when_stopped_at(self, point: str, name: str, act: Callable[[], T]) -> T:
        """Do something that stops a part at a point, and kill -9 all of the part."""
        struck = self.arm(point, "STOP")
        result = act()
        struck()
        self.wait_until_stopped(name)
        self.restart(name)
        return result

    def wait_until_stopped(self, name: str) -> psutil.Process:
        """Return the process of a part that has stopped."""

        def stopped() -> psutil.Process | None:
            for process in self.instance.tree(name):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if process.status() == psutil.STATUS_STOPPED:
                        return process
            return None

        return until(stopped, f"a process of {name} stopped")

    def restart(self, name: str) -> None:
        """Kill -9 a part and return when the supervisor has started it again."""
        old = self.instance.kill9(name)
        self.instance.wait_for_restart(name, old, seconds=PATIENCE_S)

    def wait_for_pool(self) -> None:
        """Return when the worker has forked the processes that do its work."""

        def forked() -> bool:
            parts = self.instance.pids
            return "worker" in parts and len(self.instance.tree("worker")) > 1

        until(forked, "the worker's pool runs")

    def wait_for_postgres(self) -> None:
        """Return when Postgres takes connections."""

        def answers() -> bool:
            try:
                return self.rows("SELECT 1") == [(1,)]
            except psycopg.OperationalError:
                return False

        until(answers, "Postgres answers")

    @contextlib.contextmanager
    def frozen(self, name: str, *, all_of_it: bool = False) -> Iterator[None]:
        """Stop the first process of a part, or all, for the block."""
        tree = self.instance.tree(name)
        chosen = tree if all_of_it else tree[:1]
        for process in chosen:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in chosen:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    # Looking.

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return rows of the database, read as its owner."""
        with psycopg.connect(self.instance.database_url, autocommit=True) as link:
            return link.execute(statement.encode(), values).fetchall()

    def as_superuser(self, *statements: str) -> None:
        """Change rows past every trigger, as only a broken disk could."""
        url = services.open_services(self.instance.data_dir).superuser_url
        url = url.replace("/postgres?", "/aforo?")
        with psycopg.connect(url) as link:
            link.execute("SET session_replication_role = replica")
            for statement in statements:
                link.execute(statement.encode())

    def redis(self, number: int = 0) -> redis.Redis:
        """Return a client of one of the instance's Redis databases."""
        return redis.Redis.from_url(f"{self.instance.redis_url}?db={number}")

    def effects(self, shop: Shop) -> Effects:
        """Return what the books have of a shop's customer."""
        [(events, entries, amount, pending)] = self.rows(
            "SELECT (SELECT count(*) FROM metering_usageevent WHERE customer_id = c),"
            " (SELECT count(*) FROM billing_ledgerentry WHERE customer_id = c"
            "   AND kind = 'usage'),"
            " (SELECT COALESCE(sum(amount), 0) FROM billing_ledgerentry"
            "   WHERE customer_id = c AND kind = 'usage'),"
            " (SELECT count(*) FROM metering_pendingevents"
            "   CROSS JOIN unnest(event_ids) AS waiting (event)"
            "   JOIN metering_usageevent e ON e.id = waiting.event"
            "   WHERE c = ANY(customer_ids) AND e.customer_id = c)"
            " FROM (SELECT %s::uuid AS c) AS wanted",
            shop.customer_id,
        )
        return Effects(events, entries, amount, pending)

    def drain(self) -> None:
        """Return when all that was taken in is rated, published and at the edge."""
        left = (
            "SELECT (SELECT count(*) FROM metering_pendingevents),"
            " (SELECT count(*) FROM core_outboxmessage WHERE published_at IS NULL),"
            " (SELECT count(*) FROM billing_customerbooks"
            "   WHERE version > projected_version)"
        )
        until(
            lambda: self.rows(left) == [(0, 0, 0)],
            "nothing is left to do",
            DRAIN_S_MAX,
        )

    def verify(self) -> str:
        """Drain, check every invariant, and return what verify printed."""
        self.drain()
        answer = self.instance.manage("verify")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert answer.stdout.rstrip().endswith(" 0 breaks"), answer.stdout
        return answer.stdout


@contextlib.contextmanager
def opened(*shops: dict[str, Any], **env: str) -> Iterator[Stage]:
    """Run an Aforo with these shops and no demo; env is for its whole tree."""
    with harness.short_folder() as folder:
        armed = {"AFORO_CRASH": f"@{folder / ARM_FILE}"}
        instance = harness.Instance(folder, env=armed | env)
        instance.start()
        try:
            stage = Stage(instance)
            stage.seed(shops)
            yield stage
        finally:
            # A part that a test left stopped would not hear of the end.
            for process in instance.tree():
                with contextlib.suppress(psutil.NoSuchProcess):
                    os.kill(process.pid, signal.SIGCONT)
            instance.stop()
