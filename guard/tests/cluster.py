"""A Redis Cluster of one node: it refuses keys of two slots and undeclared ones."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from aforo.embedded import binaries

SLOTS = 16_384


def _free_port() -> int:
    # The bus listens 10,000 above.
    while True:
        with socket.socket() as tried:
            tried.bind(("127.0.0.1", 0))
            port = int(tried.getsockname()[1])
        if port < 55_000:
            return port


def _ready(client: redis.Redis) -> None:
    """Give the node every slot and wait until it serves them."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            info: Any = client.execute_command("CLUSTER INFO")
            if info["cluster_slots_assigned"] == "0":
                client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
            elif info["cluster_state"] == "ok":
                return
        except redis.ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError("the cluster does not come up")


@contextmanager
def one_node() -> Iterator[redis.Redis]:
    """Run the node for a time; yield a client of it."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="aforo-cluster-") as folder:
        node = subprocess.Popen(
            [
                binaries.find_valkey().path,
                *("--port", str(port), "--bind", "127.0.0.1"),
                *("--cluster-enabled", "yes", "--save", "", "--dir", folder),
                *("--maxclients", "512"),
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            with redis.Redis(host="127.0.0.1", port=port) as client:
                _ready(client)
                yield client
        finally:
            node.terminate()
            node.wait(10)
