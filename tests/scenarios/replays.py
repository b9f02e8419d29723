"""Replays of the demo against a private instance, and what its books then say."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from aforo.demo import files, replay, traffic
from aforo.demo.calls import Call
from aforo.demo.files import Tokens
from tests.harness import ROOT, Instance, clean_env

# A drained instance still has its beat: what it repairs within a minute may wait.
SETTLE_S_MAX = 120
STREAM = """
SELECT count(*) FILTER (WHERE event_type = 'llm.completion'),
  COALESCE(sum((m->>'input_tokens')::bigint
    - COALESCE((m->>'cache_read_tokens')::bigint, 0)), 0),
  COALESCE(sum((m->>'cache_read_tokens')::bigint), 0),
  COALESCE(sum((m->>'output_tokens')::bigint), 0),
  count(*) FILTER (WHERE event_type = 'mcp.tool_invoked')
FROM metering_usageevent, LATERAL (SELECT body->'measurements' AS m) AS b
WHERE split_part(event_id, ':', 3) = %s
"""


def query(instance: Instance, statement: str, *args: Any) -> list[tuple[Any, ...]]:
    """Return rows of the instance's database, as its owner sees it."""
    with psycopg.connect(instance.database_url) as connection:
        return connection.execute(statement, args).fetchall()


def start(instance: Instance, *args: str) -> subprocess.Popen[str]:
    """Start `manage.py demo` against the instance."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", *args],
        cwd=ROOT,
        env=clean_env(AFORO_DATA_DIR=str(instance.data_dir)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Tests may run where Ctrl-C is ignored, as jobs in the background are.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run(instance: Instance, *args: str) -> str:
    """Run `manage.py demo`, which must end well, and return what it printed."""
    process = start(instance, *args)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed + instance.logs()
    return printed


def stop_at(instance: Instance, chunk: int, *args: str) -> str:
    """Run `manage.py demo`, press Ctrl-C after a chunk, and return what it printed."""
    process = start(instance, *args)
    wait_for_chunk(instance, chunk)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed + instance.logs()
    return printed


def wait_for_chunk(instance: Instance, chunk: int) -> None:
    """Return when the replay has come so far."""
    deadline = time.monotonic() + SETTLE_S_MAX
    while chunks_done(instance) < chunk:
        if time.monotonic() > deadline:
            raise AssertionError(f"no chunk {chunk}:\n{instance.logs()}")
        time.sleep(0.01)


def planned(instance: Instance) -> list[Call]:
    """Return the history that the instance's demo sends."""
    ((tag, changes),) = query(
        instance,
        "SELECT t.tag, a.changes FROM core_auditentry a JOIN core_tenant t"
        " ON t.id = a.tenant_id WHERE a.action = 'demo.history_begun'",
    )
    end = dt.datetime.fromisoformat(changes["end"][1])
    return replay.plan(f"demo:{tag}", end)


def expected(calls: Sequence[Call], file: str) -> Tokens:
    """Return what calls report of a file, counted from the file's own lines."""
    wanted = Tokens()
    for call in calls:
        _, _, stream, line, *step = call.id.split(":")
        if stream == traffic.STREAM_OF[file] and step != ["end"]:
            wanted = wanted.plus(_recorded(file, int(line), *map(int, step)))
    return wanted


def _recorded(file: str, line: int, number: int = 0) -> Tokens:
    """Return one line of a file, or one step of a session."""
    if file == files.AGENT_SESSIONS:
        step = files.agent_sessions()[line - 1].steps[number - 1]
        if step.tool:
            return Tokens(tool_calls=1)
        return Tokens(1, step.input_tokens, 0, step.output_tokens)
    rows = (
        files.conversation()
        if file == files.CONVERSATION
        else (files.code_completion())
    )
    row = rows[line - 1]
    return Tokens(1, row.input_tokens, row.cache_read_tokens, row.output_tokens)


def stored(instance: Instance, file: str) -> Tokens:
    """Return what the instance has stored of a file."""
    (row,) = query(instance, STREAM, traffic.STREAM_OF[file])
    return Tokens(*map(int, row))


def books(instance: Instance) -> list[tuple[Any, ...]]:
    """Return the head of every customer's chain, and how much there is of what."""
    return [
        *query(
            instance,
            "SELECT customer_id, head FROM billing_customerbooks ORDER BY customer_id",
        ),
        *query(
            instance,
            "SELECT (SELECT count(*) FROM metering_usageevent),"
            " (SELECT count(*) FROM billing_ledgerentry),"
            " (SELECT count(*) FROM metering_costfact),"
            " (SELECT sum(event_count) FROM metering_usagerollup)",
        ),
    ]


def wait_until_clean(instance: Instance) -> None:
    """Return when nothing is pending and `manage.py verify` finds no break."""
    deadline = time.monotonic() + SETTLE_S_MAX
    while True:
        (pending,) = query(instance, "SELECT count(*) FROM metering_pendingevents")
        verified = instance.manage("verify")
        if pending == (0,) and verified.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{pending} pending\n{verified.stdout}")
        time.sleep(2)


def chunks_done(instance: Instance) -> int:
    """Return how far the replay says that it is."""
    try:
        found = json.loads((instance.data_dir / "demo-state.json").read_text())
    except FileNotFoundError:
        return 0
    return int(found["chunks_done"])
