"""Latency of /v1/check over HTTP, beside a bare Redis round trip in the same run.

The law it tests: a decision costs one Redis round trip and little more, it never
admits one request too many, and its script is not much dearer than reading its keys.

    make bench-check args="--seconds 60 --rates 500 1000"
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
import uvloop

from bench.frame import Figures, cpu_seconds, cpu_us_since, parser, run
from bench.load import DEGRADED, close, http_load, http_post, redis_load
from tests import harness

CONNECTIONS = 32
CLIENTS = 64
CUSTOMERS = 8
EXACT_LIMIT = 500
SCRIPT_CALLS = 4000
PIPELINE = 200
LIMITS: dict[str, Any] = {
    "requests_per_minute": 100_000_000,
    "tokens_per_minute": 10_000_000_000,
    "quotas": [{"metric": "tokens", "limit": 10**12, "on_exceed": "deny"}],
    "spend_cap": "1000000.00",
    "estimate": {"input_tokens": "0.000003", "output_tokens": "0.000015"},
    "default_estimate": "0.01",
}
ESTIMATE = {"units": {"input_tokens": 1800, "output_tokens": 600}}


def asks(secrets: list[str], name: str) -> Iterator[bytes]:
    """Yield requests of several callers in turn, each with its own request_id."""
    number = 0
    while True:
        body = json.dumps(
            {
                "request_id": f"{name}-{number}",
                "tool_name": "search",
                "model": "gpt-4o",
                "estimate": ESTIMATE,
            }
        ).encode()
        yield http_post("/v1/check", body, secrets[number % len(secrets)])
        number += 1


async def machine(rate: int, micros: float, seconds: int) -> dict[str, float]:
    """Return the latencies of a bare process that works as long per request."""
    words = [sys.executable, "-m", "bench.machine", str(rate), str(micros)]
    child = await asyncio.create_subprocess_exec(
        *words, str(seconds), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    found: dict[str, float] = json.loads(out)
    return found


async def paced(
    running: harness.Instance, secrets: list[str], *, rate: int, seconds: int
) -> dict[str, Any]:
    """Return latencies at one rate: of the door, and of its two limits beside it."""
    bare = await redis_load(running.redis_url, CONNECTIONS)
    await bare.run(rate=rate, seconds=min(seconds, 5))
    close(bare)
    door = await http_load(running.url, asks(secrets, f"paced-{rate}"), CONNECTIONS)
    before = cpu_seconds(running)["web"]
    await door.run(rate=rate, seconds=seconds)
    micros = (cpu_seconds(running)["web"] - before) / (rate * seconds) * 1e6
    close(door)
    alone = await machine(rate, micros, min(seconds, 10))
    if set(door.statuses) - {200, DEGRADED}:
        raise RuntimeError(f"not everything passed: {dict(door.statuses)}")
    check, get = door.figures(), bare.figures()
    return {
        "rate": rate,
        **check,
        "redis_p50_ms": get["p50_ms"],
        "redis_p99_ms": get["p99_ms"],
        "p50_ratio": round(check["p50_ms"] / get["p50_ms"], 1),
        "machine_p50_ms": alone["p50_ms"],
        "machine_p99_ms": alone["p99_ms"],
        "p99_ratio_to_machine": round(check["p99_ms"] / alone["p99_ms"], 2),
        "degraded": door.statuses[DEGRADED],
    }


async def exact(url: str, secret: str) -> tuple[int, int]:
    """Return how many of many clients' requests passed a limit of EXACT_LIMIT.

    Apart from them, how many passed while the store was too slow to be asked.
    """
    load = await http_load(url, asks([secret], "exact"), CLIENTS)
    await load.saturate(total=EXACT_LIMIT * 3)
    close(load)
    return load.statuses[200], load.statuses[DEGRADED]


async def saturated(url: str, secrets: list[str]) -> float:
    """Return the checks per second that the door answers at most."""
    load = await http_load(url, asks(secrets, "full"), CLIENTS)
    rate = await load.saturate(total=10_000)
    close(load)
    return rate


def _redis_cpu_s(client: redis.Redis) -> float:
    """Return the CPU seconds that the server's main thread has used."""
    used: Any = client.info("cpu")
    return float(used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"])


def script_against_reads(redis_url: str, digest: str, tag: str) -> dict[str, Any]:
    """Return the script's calls per second beside one that only reads its keys."""
    engine = importlib.import_module("guard.engine.check")
    keys = importlib.import_module("guard.engine.keys")
    decision = importlib.import_module("guard.engine.decision")
    client = redis.Redis.from_url(redis_url)
    reads = client.script_load(
        "#!lua\nredis.call('TIME')\n"
        "redis.call('HMGET', KEYS[1], 'v', 'cust', ARGV[1])\n"
        "redis.call('HMGET', KEYS[2], 'v', 'cust')\n"
        "redis.call('HMGET', KEYS[3], 'p')\n"
        "redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', 0, 'LIMIT', 0, 1)\n"
        "redis.call('HMGET', KEYS[5], 'r', 't')\nreturn 1"
    )
    names = keys.customer_keys(tag)

    def rate(send: Callable[[Any, int], Any]) -> float:
        spent = 0.0
        for first in range(0, SCRIPT_CALLS, PIPELINE):
            with client.pipeline(transaction=False) as pipe:
                for number in range(first, first + PIPELINE):
                    send(pipe, number)
                started = time.perf_counter()
                pipe.execute()
                spent += time.perf_counter() - started
        return SCRIPT_CALLS / spent

    def check(pipe: Any, number: int) -> None:
        request = decision.CheckRequest(
            tag, f"script-{number}", "dec", digest=digest, units=ESTIMATE["units"]
        )
        call = engine.prepare(request)
        pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)

    read = rate(lambda pipe, _: pipe.evalsha(reads, len(names), *names, f"c:{digest}"))
    before = _redis_cpu_s(client)
    full = rate(check)
    cpu_us = (_redis_cpu_s(client) - before) / SCRIPT_CALLS * 1e6
    client.close()
    return {
        "script_per_s": round(full),
        "reads_per_s": round(read),
        "script_share": round(full / read, 2),
        "script_cpu_us": round(cpu_us, 1),
    }


async def _measure(
    running: harness.Instance, options: argparse.Namespace, shops: list[Any], one: Any
) -> dict[str, Any]:
    """Return the figures of the doors."""
    secrets = [shop.secret for shop in shops]
    url = running.url
    warm = await http_load(url, asks([*secrets, one.secret], "warm"), CONNECTIONS)
    await warm.run(rate=200, seconds=1)
    close(warm)
    await asyncio.sleep(61)  # The small limit forgets its warm-up.
    before = cpu_seconds(running)
    figures: dict[str, Any] = {"exact_limit": EXACT_LIMIT}
    figures["paced"] = [
        await paced(running, secrets, rate=rate, seconds=options.seconds)
        for rate in options.rates
    ]
    checks = sum(rate * options.seconds for rate in options.rates)
    figures["cpu_us_per_check"] = cpu_us_since(running, before, checks)
    admitted, degraded = await exact(url, one.secret)
    figures["exact_admitted"], figures["exact_degraded"] = admitted, degraded
    figures["saturation_per_s"] = round(await saturated(url, secrets))
    return figures


def measure(running: harness.Instance, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one run against a private instance."""
    factories = importlib.import_module("tests.factories")
    shops = [factories.make_shop(limits=LIMITS) for _ in range(CUSTOMERS)]
    one = factories.make_shop(limits={**LIMITS, "requests_per_minute": EXACT_LIMIT})
    figures = uvloop.run(_measure(running, options, shops, one))
    first = shops[0]
    return {
        **figures,
        "seconds": options.seconds,
        **script_against_reads(
            running.redis_url, first.credential.digest, first.customer.tag
        ),
    }


def tell(figures: Figures) -> None:
    """Say the figures in words."""
    for row in figures["paced"]:
        print(f"{row['rate']:,} checks/s for {figures['seconds']} s, client included")
        print(f"  /v1/check        p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms")
        print(
            f"  bare Redis GET   p50 {row['redis_p50_ms']} ms,"
            f" p99 {row['redis_p99_ms']} ms; a check takes {row['p50_ratio']} × as long"
        )
        print(
            f"  the machine      p50 {row['machine_p50_ms']} ms,"
            f" p99 {row['machine_p99_ms']} ms for as much work in a bare process"
        )
    print(f"at most {figures['saturation_per_s']:,} checks/s")
    print(
        f"{CLIENTS} clients against a limit of {EXACT_LIMIT}:"
        f" {figures['exact_admitted']} admitted,"
        f" {figures['exact_degraded']} passed degraded"
    )
    print(
        f"the script {figures['script_per_s']:,}/s, {figures['script_cpu_us']} µs of"
        f" CPU each; only reading its keys {figures['reads_per_s']:,}/s"
    )
    cpu = figures["cpu_us_per_check"]
    print(f"  CPU µs per check: {sum(cpu.values())} ({cpu})")


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__, seconds=20)
    options.add_argument("--rates", type=int, nargs="+", default=[500, 1000])
    run(options.parse_args(), measure, tell)


if __name__ == "__main__":
    main()
