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

from aforo.core import last_used, tenancy
from aforo.core.last_used import NOTED_EVERY
from aforo.lib import clock

log = logging.getLogger(__name__)

TABLE = "core_servicekey"
# More keys than a process meets; beyond it all are forgotten, and noted again.
REMEMBERED_MAX = 10_000
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
    last_used.note(TABLE, used)


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
    update = last_used.statement(
        TABLE, f"ARRAY['{key_id}']", f"ARRAY['{at.isoformat()}']"
    )
    return (
        f"BEGIN; SELECT set_config('aforo.tenant', '{tenant_id}', true);{update};COMMIT"
    )
