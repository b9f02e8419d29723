"""Which models the demo has rates of, as the docs of usage blocks tell."""

from __future__ import annotations

import re
from pathlib import Path

from aforo.demo import plans
from catalog import cost_library

DOCS = Path(__file__).parents[3] / "docs/usage-blocks.md"


def test_the_examples_of_the_docs_have_a_rate_only_from_the_price_list():
    text = DOCS.read_text()
    used = re.findall(r'"model": "([^"]+)"', text)
    assert used == ["claude-sonnet-4-5", "gpt-5-mini"]
    assert "the cost of both examples here is unknown" in text
    assert not set(used) & {model for _, model in plans.MODELS}
    for provider, model in zip(("anthropic", "openai"), used, strict=True):
        assert cost_library.spans(cost_library.model(provider, model))
