"""The worked examples: block to measurements to cost, each to the last digit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import extract_usage

from metering.blocks import ESTIMATED, merge
from metering.measurements import CANONICAL, contradiction
from metering.normalize import MISSING, read, strip
from metering.tests.usage_kit import example, examples, leaves

ABORTED = "any-01-aborted-stream"
READ = [e for e in examples() if e["id"] != ABORTED]
ids = pytest.mark.parametrize("case", READ, ids=[e["id"] for e in READ])


def test_all_twenty_examples_are_here() -> None:
    assert len(examples()) == 20


@ids
def test_a_block_becomes_exactly_its_measurements(case: dict[str, Any]) -> None:
    reading = read(case["raw_usage"])
    assert dict(reading.measurements) == case["canonical_measurements"]
    assert (reading.flags, reading.doubts) == ((), ())
    assert set(reading.measurements) <= CANONICAL
    figures = {name: Decimal(n) for name, n in reading.measurements.items()}
    assert contradiction(figures) == ""


@ids
def test_what_is_kept_of_a_block_reads_like_the_whole(case: dict[str, Any]) -> None:
    assert read(strip(case["raw_usage"])) == read(case["raw_usage"])


@pytest.mark.parametrize("case", examples(), ids=[e["id"] for e in examples()])
def test_leaves_at_the_given_prices_cost_what_the_example_says(
    case: dict[str, Any],
) -> None:
    sent = {
        name: str(count)
        for name, count in case["canonical_measurements"].items()
        if case["id"] == ABORTED and name != "estimated"
    }
    found = leaves(merge(read(case["raw_usage"]), sent).measurements)
    prices = {
        leaf["leaf"]: Decimal(leaf["price"]) / Decimal(leaf["per"])
        for leaf in case["priced_leaves"]
    }
    assert found == {p["leaf"]: p["quantity"] for p in case["priced_leaves"]}
    total = sum(found[leaf] * price for leaf, price in prices.items())
    assert total == Decimal(case["expected_cost_usd"])


def test_a_stream_that_was_broken_off_takes_the_senders_own_figures() -> None:
    case = example(ABORTED)
    reading = read(case["raw_usage"])
    assert (reading.flags, dict(reading.measurements)) == ((MISSING,), {})
    assert merge(reading, {}).refused == MISSING
    merged = merge(reading, {"input_tokens": "1200", "output_tokens": "57"})
    assert (merged.refused, merged.flags) == ("", [MISSING, ESTIMATED])
    assert merged.measurements == {"input_tokens": "1200", "output_tokens": "57"}


def test_what_selects_another_price_is_found() -> None:
    assert read(example("anthropic-10-fast")["raw_usage"]).context == {"speed": "fast"}
    reported = read(example("xai-01-reasoning-outside")["raw_usage"]).reported_cost
    assert reported == Decimal("0.0232856")


# How the package calls what we call otherwise.
THEIRS = {"output_reasoning_tokens": "reasoning_tokens"}
# Where its figures are not ours, and why ours are right.
FAULTS = {
    "anthropic-11-compaction-iterations": "it leaves out compaction iterations",
}


@ids
def test_genai_prices_extracts_the_same_but_for_its_faults(
    case: dict[str, Any],
) -> None:
    told = case["genai_prices_0_2_3"]
    if told is None or isinstance(case["raw_usage"], list):
        pytest.skip("the package has no extractor for this form")
    root = "usageMetadata" if told["provider_id"] == "google" else "usage"
    flavor = {
        "chat.completions": "chat",
        "responses": "responses",
        "embeddings": "embeddings",
    }.get(case["api"], "default")
    response = {root: case["raw_usage"], "model": case["model"]}
    if root == "usageMetadata":
        response["modelVersion"] = case["model"]
    usage = extract_usage(
        response, provider_id=told["provider_id"], api_flavor=flavor
    ).usage
    ours = read(case["raw_usage"]).measurements
    different = {
        name
        for name in told["extracted"]
        if (theirs := getattr(usage, name)) != ours.get(THEIRS.get(name, name))
        and theirs != 0
    }
    assert bool(different) == (case["id"] in FAULTS), different


def test_the_reader_loads_no_framework_and_no_json_library() -> None:
    code = (
        "import sys, metering.normalize\n"
        "print([n for n in ('django', 'celery', 'redis', 'psycopg', 'msgspec')"
        " if n in sys.modules])"
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "[]"


def test_the_examples_of_the_docs_measure_what_they_say() -> None:
    text = (Path(__file__).parents[2] / "docs/usage-blocks.md").read_text()
    bodies = re.findall(r"-d '(\{.*?\})'", text, re.DOTALL)
    first, second = [read(json.loads(body)["usage"]) for body in bodies]
    assert dict(first.measurements) == {
        "input_tokens": 9_550,
        "output_tokens": 420,
        "cache_read_tokens": 8_000,
        "cache_write_tokens": 1_500,
    }
    assert dict(second.measurements) == {"input_tokens": 1_200, "output_tokens": 300}
