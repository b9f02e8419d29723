"""verify beside traffic: what the clock or another store decides is read afresh."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial

import pytest
from django.core.management import call_command

from aforo.lib import sql
from aforo.lib.invariants import Invariant, rows
from aforo.management.commands import verify
from metering import invariants


def _isolation() -> str:
    return str(rows("SELECT current_setting('transaction_isolation')")[0][0])


@pytest.mark.django_db(transaction=True)
def test_only_laws_of_one_state_share_the_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A long check would make what has just come look as if it had waited."""
    seen: dict[str, str] = {}

    def looked(code: str) -> Iterable[str]:
        seen[code] = _isolation()
        return ()

    laws = [
        Invariant(law.code, law.title, partial(looked, law.code), law.live)
        for law in invariants.INVARIANTS
    ]
    monkeypatch.setattr(verify, "INVARIANTS", laws)
    call_command("verify", stdout=io.StringIO())
    assert seen.pop("I-19b") == "read committed"
    assert set(seen.values()) == {"repeatable read"}


@pytest.mark.django_db(transaction=True)
def test_a_stream_yields_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come in portions, all of them and in order."""
    monkeypatch.setattr(sql, "STREAMED", 7)
    with sql.snapshot():
        found = list(sql.stream("SELECT n FROM generate_series(1, %s) n", [100]))
    assert found == [(n,) for n in range(1, 101)]
