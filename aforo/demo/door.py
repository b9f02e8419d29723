"""The demo's HTTP client of the two hot doors; it waits out restarts and throttles."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from aforo.demo.calls import Call, question

# How long a server may be away, and how long one answer may take.
PATIENCE_S = 90.0
TIMEOUT_S = 15.0
PAUSE_S = 0.2
# Refusals that pass by themselves within a minute: rates and holds, not money.
PASSING = frozenset({"rate_limited", "too_many_open_calls"})
REASONS_MAX = 5


class DoorError(RuntimeError):
    """The doors cannot be used; the text says why."""


class Stopped(Exception):
    """Somebody asked to stop while something was waited for."""


class Answer(NamedTuple):
    """What the guard said to one question."""

    status: int
    code: str  # Of a refusal; else allow or throttle.
    retry_after_s: int

    @property
    def passes(self) -> bool:
        """Whether the call is made; a settled request id says that it was."""
        return self.status == 200 or self.code == "request_id_used"


@dataclass(slots=True)
class Tally:
    """What was asked and reported, counted by every thread."""

    # By answer; `unseen` are those that the guard let pass while its store was out.
    asked: Counter[str] = field(default_factory=Counter)
    reported: Counter[str] = field(default_factory=Counter)  # By status.
    reasons: list[str] = field(default_factory=list)  # The first rejections.
    held_back: int = 0  # Calls not even asked for while an agent was throttled.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, code: str) -> None:
        """Count one answer of the guard."""
        with self._lock:
            self.asked[code] += 1

    def report(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Count the answers to a batch of events."""
        with self._lock:
            for item in items:
                self.reported[item["status"]] += 1
                if item["status"] == "rejected" and len(self.reasons) < REASONS_MAX:
                    self.reasons.append(f"{item['code']}: {item['detail']}")


@dataclass(slots=True)
class Door:
    """The doors of one server, spoken to over one kept connection per thread."""

    url: str
    service_key: str
    tally: Tally = field(default_factory=Tally)
    stop: threading.Event = field(default_factory=threading.Event)
    _local: threading.local = field(default_factory=threading.local)

    def ask(self, call: Call, *, wait: bool) -> Answer:
        """Ask the guard for a call; with `wait`, again until no rate refuses it."""
        body = msgspec.json.encode(question(call))
        while True:
            status, headers, answer = self._post("/v1/check", body)
            code = answer.get("code") or answer.get("decision") or str(status)
            self.tally.ask(f"{code} unseen" if answer.get("degraded") else code)
            found = Answer(status, code, int(headers.get("Retry-After") or 0))
            if status in {400, 401, 403, 404, 422}:
                raise DoorError(f"/v1/check: {code}: {answer.get('detail')}")
            if not (wait and code in PASSING):
                return found
            self._pause(found.retry_after_s)

    def report(self, calls: Sequence[Call]) -> None:
        """Report calls as events; what is in flight elsewhere is sent again."""
        left = list(calls)
        while left:
            body = msgspec.json.encode([call.event for call in left])
            status, _, answer = self._post("/v1/events", body)
            if status != 200:
                detail = answer.get("detail") or answer
                raise DoorError(f"/v1/events: {status}: {detail}")
            items = answer["items"]
            again = [item for item in items if item.get("code") == "in_flight"]
            self.tally.report([i for i in items if i.get("code") != "in_flight"])
            left = [left[item["index"]] for item in again]
            if left:
                self._pause(PAUSE_S)

    def _post(
        self, path: str, body: bytes
    ) -> tuple[int, http.client.HTTPMessage, dict[str, Any]]:
        """Post JSON; a server that is away or says 5xx is tried again for a while.

        Safe to repeat: checks have request ids and events have ids.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self._post_once(path, body)
                if answer[0] < 500:
                    return answer
                trouble = f"{answer[0]}: {answer[2].get('detail')}"
            except (OSError, http.client.HTTPException) as error:
                self._forget()
                trouble = f"{type(error).__name__}: {error}"
            if time.monotonic() > deadline:
                raise DoorError(f"{self.url}{path} does not answer: {trouble}")
            self._pause(PAUSE_S)

    def _post_once(
        self, path: str, body: bytes
    ) -> tuple[int, http.client.HTTPMessage, dict[str, Any]]:
        link: http.client.HTTPConnection | None = getattr(self._local, "link", None)
        if link is None:
            host = urllib.parse.urlsplit(self.url).netloc
            link = http.client.HTTPConnection(host, timeout=TIMEOUT_S)
            self._local.link = link
        headers = {
            "Authorization": f"Bearer {self.service_key}",
            "Content-Type": "application/json",
        }
        link.request("POST", path, body, headers)
        response = link.getresponse()
        raw = response.read()
        try:
            answer = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            answer = {"detail": raw[:200].decode(errors="replace")}
        return response.status, response.headers, answer

    def _forget(self) -> None:
        """Close this thread's connection; the next request opens another."""
        link: http.client.HTTPConnection | None = getattr(self._local, "link", None)
        if link is not None:
            link.close()
            self._local.link = None

    def _pause(self, seconds: float) -> None:
        """Wait; raise Stopped when somebody asks to stop meanwhile."""
        if self.stop.wait(seconds):
            raise Stopped
