"""Text that is written with `code` in it, as the API's descriptions are."""

from __future__ import annotations

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString

register = template.Library()

CODE = re.compile(r"`([^`\n]+)`")


@register.filter
def with_code(text: str) -> SafeString:
    """Return the text as HTML, what stands between backticks as code."""
    return SafeString(CODE.sub(r"<code>\1</code>", escape(text)))
