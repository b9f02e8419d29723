"""The tags of the pages: figures, states, navigation and the boxes around content.

Load with `{% load aforo_ui %}`; every tag is shown on /dev/ui. Charts are in
`aforo_charts`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import template
from django.forms import BoundField, CheckboxInput
from django.template import Context
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.ui import figures, states

register = template.Library()


def _flag_attributes(attrs: Mapping[str, Any]) -> SafeString:
    """Return HTML attributes; `hx_get` becomes hx-get, True a bare name."""
    pairs = [
        (name.rstrip("_").replace("_", "-"), value)
        for name, value in attrs.items()
        if value not in (None, False, "")
    ]
    bare = format_html_join("", " {}", ((n,) for n, v in pairs if v is True))
    full = format_html_join("", ' {}="{}"', (p for p in pairs if p[1] is not True))
    return bare + full


# ---------------------------------------------------------------- figures


@register.simple_tag
def icon(name: str, css: str = "", label: str = "") -> SafeString:
    """An icon of the sprite: {% icon "users" %}; a label makes it an image."""
    heard = format_html(' role="img" aria-label="{}"', label) if label else ""
    return format_html(
        '<svg class="icon {}"{}><use href="{}#{}"/></svg>',
        css,
        heard or SafeString(' aria-hidden="true"'),
        static("icons.svg"),
        name,
    )


@register.simple_tag
def money(value: Decimal | None, currency: str, reason: str = "") -> SafeString:
    """An amount: {% money line.amount invoice.currency %}; None needs a reason."""
    return figures.amount(value, currency, reason)


@register.simple_tag
def quantity(
    value: Decimal | int | None, unit: str = "", reason: str = ""
) -> SafeString:
    """A quantity: {% quantity session.tokens "tokens" %}."""
    return figures.quantity(value, unit, reason)


@register.simple_tag
def percent(value: Decimal | None, places: int = 1, reason: str = "") -> SafeString:
    """A ratio as a percentage: {% percent margin reason="no revenue yet" %}."""
    return figures.percent(value, places, reason)


@register.simple_tag
def delta(change: Decimal | None, good: str = "up", note: str = "") -> SafeString:
    """A relative change: {% delta ratio good="down" note="vs Feb" %}.

    `good` says which direction is welcome: up, down or neither. Beyond ten times the
    figure before was next to nothing, and percents of it say nothing either.
    """
    if change is None:
        return figures.unknown("nothing to compare with")
    rise = "up" if change > 0 else "down" if change < 0 else ""
    tone = "muted" if not rise or good == "neither" else "ok" if rise == good else "bad"
    word = {"up": "up", "down": "down", "": "unchanged"}[rise]
    arrow = {"up": "arrow-up", "down": "arrow-down", "": "minus"}[rise]
    return format_html(
        '<span class="delta {}">{}<span class="sr">{} </span>{} {}</span>',
        tone,
        icon(arrow),
        word,
        "over 10 times" if change > 10 else figures.percent_text(abs(change)),
        format_html('<span class="muted">{}</span>', note) if note else "",
    )


@register.simple_tag
def status(state: str, word: str = "", pill: bool = False) -> SafeString:
    """A state as icon, word and colour: {% status invoice.state pill=True %}."""
    shown = states.describe(state)
    return format_html(
        '<span class="status {}{}">{}{}</span>',
        shown.tone,
        " pill" if pill else "",
        icon(shown.icon),
        word or shown.word,
    )


@register.simple_tag
def time(
    value: dt.datetime | None, style: str = "minute", reason: str = "not yet"
) -> SafeString:
    """An instant in UTC: {% time event.occurred_at "ms" %}.

    Styles: full, minute, short, clock, ms, date. Local time appears on hover and
    on focus of the row.
    """
    return figures.time_html(value, style, reason)


@register.simple_tag
def period(start: dt.datetime, end: dt.datetime, timezone: str = "UTC") -> str:
    """A period [start, end): {% period p.start_at p.end_at p.timezone %}."""
    return figures.period_text(start, end, timezone)


@register.simple_tag
def duration(milliseconds: int | None) -> str:
    """A duration: {% duration session.total_duration_ms %} reads 5 h 12 min."""
    return figures.duration_text(milliseconds)


# ------------------------------------------------------------- navigation


@register.simple_tag(takes_context=True)
def qs(context: Context, **changes: Any) -> str:
    """The address's query with changes: href="{% qs sort='-name' after=None %}"."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        if value is None or value == "":
            query.pop(name, None)
        else:
            query[name] = str(value)
    return f"?{query.urlencode()}"


@register.inclusion_tag("includes/crumbs.html")
def crumbs(*steps: str) -> dict[str, Any]:
    """Breadcrumbs of label, URL, …, label: {% crumbs "Events" "/events" "evt_1" %}."""
    trail = [(steps[i], steps[i + 1]) for i in range(0, len(steps) - 1, 2)]
    return {"trail": trail, "here": steps[-1]}


@register.inclusion_tag("includes/tabs.html")
def tabs(items: Sequence[Mapping[str, Any]], label: str) -> dict[str, Any]:
    """Tabs as links: items of label, url, current and count (optional)."""
    return {"items": items, "label": label}


@register.inclusion_tag("includes/sort_header.html", takes_context=True)
def sort_header(
    context: Context, label: str, key: str, num: bool = False, default: str = ""
) -> dict[str, Any]:
    """A sortable column head: {% sort_header "Revenue" "revenue" num=True %}.

    It reads and writes `?sort=`; a leading minus means descending. `default` is
    the order in force when the address names none. Numbers start descending.
    """
    now = context["request"].GET.get("sort") or default
    order = "none"
    if now.lstrip("-") == key:
        order = "descending" if now.startswith("-") else "ascending"
    first, second = (f"-{key}", key) if num else (key, f"-{key}")
    target = second if now == first else first
    query = qs(context, sort=target, after=None, before=None)
    return {"label": label, "order": order, "num": num, "url": query}


@register.inclusion_tag("includes/pager.html", takes_context=True)
def pager(
    context: Context, after: str | None, before: str | None, note: str = ""
) -> dict[str, Any]:
    """Keyset paging: {% pager page.after page.before note="newest first" %}.

    The cursors go into `?after=` and `?before=`; None switches a direction off.
    """
    return {
        "next_url": qs(context, after=after, before=None) if after else "",
        "previous_url": qs(context, before=before, after=None) if before else "",
        "note": note,
    }


# ------------------------------------------------------------------ parts


@register.inclusion_tag("includes/kpi.html")
def kpi(
    label: str,
    value: str,
    note: str = "",
    live: str = "",
    spark: str = "",
    url: str = "",
) -> dict[str, Any]:
    """A key figure inside `<dl class="kpis">`; `url` leads to what is behind it.

    {% money total "USD" as revenue %}{% kpi "Revenue" revenue live="mtd.revenue" %}
    `live` names the figure for the live feed; `note` and `spark` may be HTML.
    """
    return {
        "label": label,
        "value": value,
        "note": note,
        "live": live,
        "spark": spark,
        "url": url,
    }


@register.inclusion_tag("includes/empty.html")
def empty(
    title: str,
    text: str = "",
    icon: str = "inbox",
    url: str = "",
    action: str = "",
    clear_url: str = "",
    curl: str = "",
) -> dict[str, Any]:
    """An empty list: none yet (url, action, curl) or none match (clear_url)."""
    return {
        "title": title,
        "text": text,
        "icon_name": icon,
        "url": url,
        "action": action,
        "clear_url": clear_url,
        "curl": curl,
    }


@register.inclusion_tag("includes/timeline.html")
def timeline(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What happened, newest first: items of at, text, icon, tone and url (optional)."""
    return {"items": items}


@register.inclusion_tag("includes/field.html")
def field(bound: BoundField, label: str = "") -> dict[str, Any]:
    """A form field with label, help and error: {% field form.email %}."""
    return {
        "field": bound,
        "label": label or bound.label,
        "is_check": isinstance(bound.field.widget, CheckboxInput),
        "optional": not bound.field.required,
    }


@register.inclusion_tag("includes/error_summary.html")
def error_summary(form: Any, focus: bool = True) -> dict[str, Any]:
    """The problems of a form, linked to their fields; it takes the focus."""
    problems = [
        (form[name].id_for_label, f"{form[name].label}: {message}")
        if name in form.fields
        else ("", message)
        for name, messages in form.errors.items()
        for message in messages
    ]
    return {"problems": problems, "focus": focus}


@register.simple_tag
def button(
    text: str,
    kind: str = "",
    icon_name: str = "",
    href: str = "",
    css: str = "",
    **attrs: Any,
) -> SafeString:
    """A button, or with `href` a link that looks like one.

    {% button "Publish" kind="primary" icon_name="check" name="do" value="publish" %}
    Kinds: primary, danger, quiet. `type="button"` makes it no submit.
    """
    look = f"btn {f'btn-{kind}' if kind else ''} {css}".strip()
    inner = format_html("{}{}", icon(icon_name) if icon_name else "", text)
    extra = _flag_attributes(attrs)
    if href:
        return format_html('<a class="{}" href="{}"{}>{}</a>', look, href, extra, inner)
    return format_html('<button class="{}"{}>{}</button>', look, extra, inner)


# ------------------------------------------------------------- boxes (block tags)


@register.simple_block_tag
def card(content: str, title: str = "", note: str = "", css: str = "card-body") -> str:
    """A surface: {% card "Agents" note="UTC" css="flush" %} … {% endcard %}."""
    head = format_html(
        '<div class="card-head"><h2>{}</h2>{}</div>',
        title,
        format_html('<span class="muted small">{}</span>', note) if note else "",
    )
    return format_html(
        '<section class="card">{}<div class="{}">{}</div></section>',
        head if title else "",
        css,
        content,
    )


@register.simple_block_tag
def table(content: str, label: str, sticky: bool = False) -> str:
    """A table that scrolls by itself: {% table "Agents" %}<thead>…{% endtable %}.

    `sticky` keeps the head in sight on long lists. The label is read aloud.
    """
    return format_html(
        '<div class="table-wrap {}" role="region" tabindex="0" aria-label="{}">'
        '<table class="table">{}</table></div>',
        "sticky" if sticky else "",
        label,
        content,
    )


@register.simple_block_tag
def callout(content: str, tone: str = "accent", title: str = "", role: str = "") -> str:
    """A note that needs reading: {% callout "warn" title="…" %}…{% endcallout %}."""
    marks = {"ok": "circle-check", "warn": "triangle-alert", "bad": "circle-x"}
    return format_html(
        '<div class="callout {}"{}>{}<div>{}{}</div></div>',
        tone,
        format_html(' role="{}"', role) if role else "",
        icon(marks.get(tone, "info")),
        format_html("<p><strong>{}</strong></p>", title) if title else "",
        content,
    )


@register.simple_block_tag
def code(content: str, label: str = "Code") -> str:
    """Copyable code: {% code "curl" %}curl …{% endcode %}."""
    return format_html(
        '<div class="code"><div>{}<button type="button" data-copy'
        ' class="btn btn-quiet btn-small js-only">{}'
        '<span aria-live="polite">Copy</span>'
        '</button></div><pre tabindex="0" role="region" aria-label="{}"><code>{}'
        "</code></pre></div>",
        label,
        icon("copy"),
        label,
        SafeString(content.strip()),
    )


@register.simple_block_tag
def dialog(content: str, id: str, title: str, drawer: bool = False) -> str:
    """A modal box; open it by a button with command="show-modal" commandfor=id.

    {% dialog "rotate" "Rotate key" %}<div class="body">…</div>{% enddialog %}
    `drawer=True` makes it a full-height panel at the right.
    """
    return format_html(
        '<dialog id="{}" class="{}" aria-labelledby="{}-title"><header>'
        '<h2 id="{}-title">{}</h2><button type="button" class="btn btn-quiet btn-icon"'
        ' command="close" commandfor="{}" aria-label="Close">{}</button></header>'
        "{}</dialog>",
        id,
        "drawer" if drawer else "",
        id,
        id,
        title,
        id,
        icon("x"),
        content,
    )
