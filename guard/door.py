"""What every door shares: for each address one flow from a request to its answer."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Generator, Mapping
from typing import Any, Final

from django.conf import settings

from aforo.lib import http
from aforo.lib.errors import AforoError
from guard import asking, forwarding, judging, releasing, wording
from guard.drivers import Blocking, Recovery
from guard.journal import Journal
from guard.memory import Memory
from guard.operations import Operation
from guard.outage import LocalLimits
from guard.stores import for_checks
from guard.wording import Answer

METHODS: Final = ("POST",)

security = logging.getLogger("aforo.security")


@functools.cache
def memory() -> Memory:
    """Return what this process remembers."""
    return Memory(local=LocalLimits(settings.GUARD_DOORS))


@functools.cache
def journal() -> Journal:
    """Return the spool of this process."""
    return Journal(settings.GUARD_JOURNAL_DIR)


@functools.cache
def recovery() -> Recovery:
    """Return what brings this process back to its store."""
    return Recovery(memory())


@functools.cache
def blocking() -> Blocking:
    """Return the blocking driver of this process."""
    return Blocking(memory(), recovery(), for_checks())


def address(headers: Mapping[str, str], peer: str) -> str:
    """Return the caller's address; a header counts only from a listed proxy.

    It bounds failed attempts and nothing else: limits go by the credential.
    """
    if peer not in settings.TRUSTED_PROXIES:
        return peer
    return headers.get("x-forwarded-for", peer).split(",")[-1].strip()


def _counted(error: AforoError, caller: str) -> AforoError:
    """Return what is answered to a refusal; refused credentials count and are logged.

    Too many of them from one address become 429.
    """
    if error.status == 401:
        try:
            memory().failures.refuse_if_full(caller)
        except AforoError as full:
            return full
        memory().failures.note(caller)
        security.warning("%s from %s", error.code, caller)
    return error


def flow(
    *, headers: Mapping[str, str], query: str, body: bytes, peer: str
) -> Generator[Operation, Any, Answer]:
    """Answer one request whose method and size are right: auth → parse → judge."""
    started = time.perf_counter_ns()
    caller = address(headers, peer)
    try:
        http.refuse_key_in_url(query)
        who = judging.caller(headers.get("authorization", ""), caller)
        http.require_json(headers.get("content-type", ""))
        ask = asking.parse(body)
        verdict = yield from judging.judge(memory(), who, ask)
    except AforoError as error:
        return wording.refusal(_counted(error, caller))
    journal().note(verdict, ask, (time.perf_counter_ns() - started) // 1000)
    return wording.answer(verdict.decision, ask, verdict.request.tag)


def authz(
    *, method: str, path: str, query: str, headers: Mapping[str, str], peer: str
) -> Generator[Operation, Any, Answer]:
    """Answer a gateway that forwards a request's headers, whatever its method.

    The query is ours where the path ends at /v1/authz, else the forwarded request's.
    """
    started = time.perf_counter_ns()
    caller = address(headers, peer)
    soft = path == forwarding.PATH and "deny=403" in query.split("&")
    try:
        asked = forwarding.read(headers, method=method, path=path)
        who = judging.caller(asked.authorization, caller)
        verdict = yield from judging.judge(memory(), who, asked.ask)
    except AforoError as error:
        return forwarding.refusal(_counted(error, caller), soft=soft)
    journal().note(verdict, asked.ask, (time.perf_counter_ns() - started) // 1000)
    return forwarding.answer(verdict, asked.ask, soft=soft)


def release(
    *, name: str, headers: Mapping[str, str], query: str, body: bytes, peer: str
) -> Generator[Operation, Any, Answer]:
    """Answer one request to void a hold, whose id, if any, is `name`."""
    caller = address(headers, peer)
    try:
        http.refuse_key_in_url(query)
        who = judging.caller(headers.get("authorization", ""), caller)
        if body.strip():
            http.require_json(headers.get("content-type", ""))
        ask = releasing.parse(body)
        place, told = yield from releasing.release(memory(), who, name, ask)
        return releasing.answer(place, told)
    except AforoError as error:
        return wording.refusal(_counted(error, caller))
