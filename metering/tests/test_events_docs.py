"""docs/events.md names every member, flag and code there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metering import mcp, otlp_spans, schema, shapes

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "events.md").read_text()
SOURCES = """metering/canonical.py metering/shapes.py metering/identity.py
metering/envelope.py metering/ingest.py metering/answers.py metering/store.py
metering/cloudevents.py metering/mcp.py
aforo/core/idempotency.py aforo/lib/http.py""".split()
# The caller is gone; there is nobody who could read this code.
UNSEEN = {"disconnected"}


@pytest.mark.parametrize("name", [*shapes.COMPOUND_FIELDS, *shapes.TOOL_FIELDS])
def test_every_member_is_documented(name: str) -> None:
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("source", SOURCES)
def test_every_code_is_documented(source: str) -> None:
    code = (ROOT / source).read_text()
    raised = re.findall(r'(?:bad|AforoError)\(\s*"([a-z_0-9]+)"', code)
    assert raised
    assert [c for c in raised if f"`{c}`" not in TEXT and c not in UNSEEN] == []


def test_what_is_read_of_mcp_and_of_spans_is_documented() -> None:
    text = (ROOT / "docs" / "mcp.md").read_text()
    named = [*mcp.MEMBERS, *mcp.TASK_STATUSES, *mcp.RESULT_TYPES, *mcp.NEVER_BILLED]
    assert [name for name in named if f"`{name}`" not in text] == []
    text = (ROOT / "docs" / "otlp.md").read_text()
    named = [name for names in otlp_spans.USAGE.values() for name in names]
    named += [*otlp_spans.OWN, *otlp_spans.INFERENCE, otlp_spans.BILL_TOOLS]
    named += [*otlp_spans.KEPT.values(), *otlp_spans.SHARED_SESSIONS]
    named += [*otlp_spans.MODEL, *otlp_spans.PROVIDER, *otlp_spans.OLD_OPERATIONS]
    assert [name for name in named if f"`{name}`" not in text] == []


def test_every_flag_is_documented() -> None:
    flags = set()
    for source in ("metering/shapes.py", "metering/identity.py"):
        code = (ROOT / source).read_text()
        flags |= set(re.findall(r'flags\.append\("([a-z_]+)"\)', code))
        flags |= set(re.findall(r'_flag\("([a-z_]+)"\)', code))
    assert len(flags) > 5
    assert [flag for flag in sorted(flags) if f"`{flag}`" not in TEXT] == []


def test_the_description_lists_the_statuses_of_the_refusals() -> None:
    assert all(str(status) in TEXT for status in schema.REFUSALS)
