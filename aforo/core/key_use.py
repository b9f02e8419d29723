"""When service keys were last used: noted at most once a minute, and never waited for.

Each process remembers what it noted, so that a busy key costs one statement a minute.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
import uuid
from collections.abc import Mapping

from django.db import DatabaseError, transaction

from aforo.core import tenancy
from aforo.lib import clock, sql

log = logging.getLogger(__name__)

# A busy key is noted once in this time and not at every call.
NOTED_EVERY = dt.timedelta(minutes=1)
# More keys than a process meets; beyond it all are forgotten, and noted again.
REMEMBERED_MAX = 10_000
# Rows that somebody else holds are left to the next note: this waits for nobody. An
# instant older than the noted one changes nothing.
NOTE_USED = """
WITH due AS (
  SELECT k.id, used.at FROM unnest({ids}::uuid[], {times}::timestamptz[])
    AS used (id, at)
  JOIN core_servicekey k ON k.id = used.id
  WHERE k.last_used_at IS NULL OR k.last_used_at <= used.at - interval '1 minute'
  FOR NO KEY UPDATE OF k SKIP LOCKED
)
UPDATE core_servicekey k SET last_used_at = due.at FROM due WHERE k.id = due.id
"""
_noted: dict[uuid.UUID, float] = {}
_lock = threading.Lock()


def is_due(key_id: uuid.UUID) -> bool:
    """Tell whether a key's use has to be noted now; whoever is told yes notes it."""
    now = time.monotonic()
    with _lock:
        last = _noted.get(key_id)
        if last is not None and now - last < NOTED_EVERY.total_seconds():
            return False
        if len(_noted) >= REMEMBERED_MAX:
            _noted.clear()
        _noted[key_id] = now
        return True


def forget() -> None:
    """Forget what this process noted."""
    with _lock:
        _noted.clear()


def note_used(used: Mapping[uuid.UUID, dt.datetime]) -> None:
    """Note when keys were last used, by id; exact to NOTED_EVERY."""
    if used:
        with sql.cursor() as cursor:
            statement = NOTE_USED.format(ids="%b", times="%b")
            cursor.execute(statement, [list(used), list(used.values())])


def note_after_commit(tenant_id: uuid.UUID, key_id: uuid.UUID) -> None:
    """Note that a key is used now, when the transaction of its call has ended.

    In a transaction of its own, so that no call, however long, keeps somebody from
    revoking the key. A note that fails is logged and changes no answer.
    """
    if not is_due(key_id):
        return
    at = clock.now()

    def note() -> None:
        try:
            with tenancy.as_web(tenant_id=tenant_id):
                note_used({key_id: at})
        except DatabaseError:
            log.warning("the use of a service key is not noted", exc_info=True)

    transaction.on_commit(note)


def statement_for(tenant_id: uuid.UUID, key_id: uuid.UUID, at: dt.datetime) -> str:
    """Return one text that notes the use of a key in a transaction of its own.

    For connections that are asynchronous: sent as a whole, it is done as a whole, also
    when nobody waits for the answer.
    """
    update = NOTE_USED.format(
        ids=f"ARRAY['{key_id}']", times=f"ARRAY['{at.isoformat()}']"
    )
    return (
        f"BEGIN; SELECT set_config('aforo.tenant', '{tenant_id}', true);{update};COMMIT"
    )
