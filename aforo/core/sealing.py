"""Secrets that must be read again, encrypted at rest with the instance's key."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def box(purpose: str) -> Fernet:
    """Return the cipher of one purpose, its key derived from the secret key."""
    derived = HKDF(
        algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode()
    ).derive(settings.SECRET_KEY.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


def seal(secret: str, *, purpose: str) -> str:
    """Return the secret encrypted."""
    return box(purpose).encrypt(secret.encode()).decode()


def unseal(sealed: str, *, purpose: str) -> str | None:
    """Return the secret, or None when it was sealed with another key or altered."""
    try:
        return box(purpose).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None
