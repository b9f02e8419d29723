"""Projection of absolute, versioned state, which settles the holds of its usage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from guard.engine import keys, scripts

# No hold lives longer: a day is the longest call that a product may have.
HOLD_MS_MAX = 24 * 3600 * 1000 + 60_000
RECOUNT_MAX = 20_000


@dataclass(frozen=True, slots=True)
class State:
    """What is projected of one customer in one step.

    config and totals are the fields of guard.engine.state at their versions, None
    where nothing is said; settled are the request ids whose usage is in the totals.
    """

    tag: str
    config_version: int | None = None
    config: Mapping[str, bytes] = field(default_factory=dict)
    version: int | None = None
    totals: Mapping[str, bytes] = field(default_factory=dict)
    settled: Iterable[str] = ()
    repair: bool = False  # replace newer state too: it is not the record's


@dataclass(frozen=True, slots=True)
class Projected:
    """What a projection changed."""

    config: bool
    totals: bool
    settled: int  # holds that were open


@dataclass(frozen=True, slots=True)
class Recounted:
    """What is in flight, and how far the running sums were off."""

    open: int  # −1: too many to count
    micros: int
    drift_micros: int
    wrong: int  # sums of any scope that were off


def prepare(state: State) -> scripts.Call:
    """Return the call of project.lua that writes the state."""
    args: list[scripts.Argument] = [
        "" if state.config_version is None else state.config_version,
        "" if state.version is None else state.version,
        int(state.repair),
        len(state.config),
        len(state.totals),
    ]
    for fields in (state.config, state.totals):
        for name, value in fields.items():
            args += (name, value)
    args += [keys.request_key(text) for text in state.settled]
    return scripts.Call(scripts.PROJECT, keys.projection_keys(state.tag), args)


def interpret(reply: list[int]) -> Projected:
    """Return what a reply of project.lua says."""
    config, totals, settled = reply
    return Projected(bool(config), bool(totals), settled)


def project(client: scripts.Client, state: State) -> Projected:
    """Write a customer's state; an older version changes nothing but holds."""
    return interpret(scripts.run(client, prepare(state)))


def recount(client: scripts.Client, tag: str) -> Recounted:
    """Recompute what is in flight from the holds themselves."""
    call = scripts.Call(
        scripts.RECOUNT, keys.hold_keys(tag), [HOLD_MS_MAX, RECOUNT_MAX]
    )
    return Recounted(*scripts.run(client, call))
