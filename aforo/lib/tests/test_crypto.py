"""Keys: a tag, a secret, a checksum; and nothing of them in a log."""

from __future__ import annotations

import logging

import pytest

from aforo.lib import crypto

TAG = "abc123def456"


@pytest.mark.parametrize("prefix", ["sk", "cs", "svc"])
def test_a_minted_key_is_read_back(prefix: str) -> None:
    key = crypto.mint_key(prefix, "live", TAG)
    parsed = crypto.parse_key(key)
    assert parsed is not None
    assert (parsed.prefix, parsed.env, parsed.tag) == (prefix, "live", TAG)
    assert parsed.digest == crypto.hash_key(key)


def test_every_single_typo_is_caught_without_a_look_up() -> None:
    key = crypto.mint_key("sk", "test", TAG)
    for index in range(len("sk_test_"), len(key)):
        other = "x" if key[index] != "x" else "y"
        assert crypto.parse_key(key[:index] + other + key[index + 1 :]) is None


@pytest.mark.parametrize("text", ["", "sk_live_", "Bearer x", "sk_prod_" + "a" * 62])
def test_other_texts_are_no_keys(text: str) -> None:
    assert crypto.parse_key(text) is None


def test_two_keys_never_share_a_secret() -> None:
    keys = {crypto.mint_key("sk", "live", TAG) for _ in range(1000)}
    assert len(keys) == 1000


def test_a_log_line_keeps_the_tag_and_loses_the_secret() -> None:
    key = crypto.mint_key("cs", "live", TAG)
    record = logging.LogRecord("x", 20, "f", 1, "got %s from %s", (key, "me"), None)
    assert crypto.RedactSecrets().filter(record)
    text = record.getMessage()
    assert key not in text
    assert f"cs_live_{TAG}_…" in text
    assert "from me" in text
