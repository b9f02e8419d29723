"""The Lua scripts, loaded once, run by their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
from redis.exceptions import NoScriptError

LUA = Path(__file__).parent / "lua"

Argument = str | bytes | int


class Client(Protocol):
    """What the engine needs of redis.Redis."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script by its digest."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script by its text."""


@dataclass(frozen=True, slots=True)
class Script:
    """One script and the SHA-1 under which servers cache it."""

    text: str
    sha: str


class Call(msgspec.Struct, frozen=True, gc=False):
    """A script with its keys and arguments, ready to be sent."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Argument]


HEADER = "#!lua\n"


def load(name: str) -> Script:
    """Return the script of a file in lua/, or of a folder's parts in their order.

    Parts are one script: what an earlier one names, the later ones see. Every script
    begins with what they all know of sums.
    """
    folder = LUA / name
    parts = sorted(folder.glob("*.lua")) if folder.is_dir() else [LUA / f"{name}.lua"]
    own = "".join(part.read_text() for part in parts)
    assert own.startswith(HEADER), "a script says first what it is written in"
    text = HEADER + (LUA / "sums.lua").read_text() + own.removeprefix(HEADER)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


CHECK = load("check")
RELEASE = load("release")
PROJECT = load("project")
RECOUNT = load("recount")


def run(client: Client, call: Call) -> Any:
    """Run a script in one round trip; a server that lost it is given it again."""
    script, words = call.script, (*call.keys, *call.args)
    try:
        return client.evalsha(script.sha, len(call.keys), *words)
    except NoScriptError:
        return client.eval(script.text, len(call.keys), *words)


async def run_async(client: Any, call: Call) -> Any:
    """Run a script over redis.asyncio, as run() does."""
    script, words = call.script, (*call.keys, *call.args)
    try:
        return await client.evalsha(script.sha, len(call.keys), *words)
    except NoScriptError:
        return await client.eval(script.text, len(call.keys), *words)
