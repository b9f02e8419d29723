"""Secrets: keys that carry their customer's tag and a checksum, and their redaction."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import string
import zlib

import msgspec

BASE62 = string.digits + string.ascii_letters
SECRET_LENGTH = 43  # 43 × log2(62) = 256 bits
CRC_LENGTH = 6  # 62^6 > 2^32
TAG_ALPHABET = string.digits + string.ascii_lowercase
TAG_LENGTH = 12
KEY_PATTERN = re.compile(
    r"(sk|cs|svc)_(live|test)_([0-9a-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})"
)
_SECRET_PART = re.compile(
    r"\b((?:sk|cs|svc)_(?:live|test)_[0-9a-z]{12})_[0-9A-Za-z]{8,}|\b(whsec_)\S+"
)


class ParsedKey(msgspec.Struct, frozen=True, gc=False):
    """A key whose form and checksum are right; whether it is known is not said."""

    prefix: str  # sk, cs or svc
    env: str  # live or test
    tag: str  # hash tag of the customer, or of the tenant for svc
    text: str  # the whole key
    digest: str  # SHA-256 in hex: what is stored and looked up


def new_tag() -> str:
    """Return a new hash tag: it names the Redis slot of one customer."""
    return "".join(secrets.choice(TAG_ALPHABET) for _ in range(TAG_LENGTH))


def _checksum(text: str) -> str:
    """Return the CRC-32 of the text as six base-62 digits."""
    number = zlib.crc32(text.encode())
    digits = []
    for _ in range(CRC_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def mint_key(prefix: str, env: str, tag: str) -> str:
    """Return a new key with a 256-bit secret."""
    secret = "".join(secrets.choice(BASE62) for _ in range(SECRET_LENGTH))
    body = f"{prefix}_{env}_{tag}_{secret}"
    return body + _checksum(body)


def parse_key(text: str) -> ParsedKey | None:
    """Return the parts of a key, or None when its form or checksum is wrong."""
    match = KEY_PATTERN.fullmatch(text)
    if match is None or _checksum(text[:-CRC_LENGTH]) != text[-CRC_LENGTH:]:
        return None
    return ParsedKey(match[1], match[2], match[3], text, hash_key(text))


def hash_key(text: str) -> str:
    """Return the SHA-256 of a key in hex; enough for a 256-bit secret."""
    return hashlib.sha256(text.encode()).hexdigest()


def redact(text: str) -> str:
    """Return the text with the secret part of every key replaced."""
    return _SECRET_PART.sub(lambda m: f"{m[1]}_…" if m[1] else f"{m[2]}…", text)


class RedactSecrets(logging.Filter):
    """Keeps secrets out of every log line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the record's message by its redacted text."""
        message = record.getMessage()
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, ()
        return True
