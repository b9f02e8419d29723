"""Time-based one-time passwords: made, shown as a QR code, checked once each."""

from __future__ import annotations

import hmac

import pyotp
import segno
from django.utils.safestring import SafeString

from aforo.core import sealing
from aforo.core.models import User
from aforo.lib import clock

STEP_S = 30
ISSUER = "Aforo"
PURPOSE = "aforo second factor"


def seal(secret: str) -> str:
    """Return the secret encrypted."""
    return sealing.seal(secret, purpose=PURPOSE)


def unseal(sealed: str) -> str | None:
    """Return the secret, or None when it was sealed with another key or altered."""
    return sealing.unseal(sealed, purpose=PURPOSE)


def new_secret() -> str:
    """Return a fresh secret in base32."""
    return pyotp.random_base32()


def qr_code(user: User, secret: str) -> SafeString:
    """Return the QR code that authenticator apps read, as SVG without styles."""
    uri = pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=ISSUER)
    # White behind it in dark mode too: readers need the contrast.
    svg = segno.make(uri, error="m").svg_inline(
        border=4, dark="#000", light="#fff", title="QR code", omitsize=True
    )
    return SafeString(svg)


def matching_step(secret: str, code: str) -> int | None:
    """Return the 30-second step whose code was typed, one step of drift allowed."""
    typed = "".join(code.split())
    totp = pyotp.TOTP(secret)
    current = int(clock.now().timestamp()) // STEP_S
    for step in (current, current - 1, current + 1):
        if hmac.compare_digest(totp.at(step * STEP_S), typed):
            return step
    return None


def is_on(user: User) -> bool:
    """Tell whether the person signs in with a second factor."""
    return bool(user.totp_secret) and user.totp_confirmed_at is not None


def accept(user: User, code: str) -> bool:
    """Tell whether the code is right, and use it up: no code works twice."""
    secret = unseal(user.totp_secret)
    if secret is None or not typed_ascii(code):
        return False
    step = matching_step(secret, code)
    if step is None:
        return False
    # Conditional, so that two requests with one code cannot both pass.
    used = User.objects.filter(pk=user.pk, totp_last_step__lt=step)
    return used.update(totp_last_step=step) == 1


def typed_ascii(code: str) -> bool:
    """Tell whether the code could be one: compare_digest takes ASCII only."""
    return code.isascii()


def switch_on(user: User, secret: str, code: str) -> bool:
    """Switch the second factor on once its first code proves that the app has it."""
    step = matching_step(secret, code) if typed_ascii(code) else None
    if step is None:
        return False
    user.totp_secret = seal(secret)
    user.totp_confirmed_at = clock.now()
    user.totp_last_step = step
    user.save(update_fields=["totp_secret", "totp_confirmed_at", "totp_last_step"])
    return True


def switch_off(user: User) -> None:
    """Switch the second factor off and forget its secret."""
    user.totp_secret = ""
    user.totp_confirmed_at = None
    user.save(update_fields=["totp_secret", "totp_confirmed_at"])
