"""What a browser posts, as the texts of the form; no text is judged here."""

from __future__ import annotations

from itertools import zip_longest

from django.http import QueryDict

from catalog.limits import QUOTAS_MAX
from catalog.pricing.metric_json import FILTER_KEYS_MAX
from catalog.pricing.parsing import CHARGES_MAX, TIERS_MAX
from catalog.pricing.variants import CURRENCIES_MAX
from portal.composer import levels, margins, rows, term_texts
from portal.composer.bodies import BOUNDS
from portal.composer.currencies import WHOLE
from portal.composer.models import MODELS
from portal.composer.numbers import clean
from portal.composer.params import Param
from portal.composer.signs import unsigned
from portal.composer.typed import JSON_MODEL, Charge, Price, Tier, Typed, is_uid

# recipe → included → package → tiers: no deeper price can be written.
DEPTH_MAX = 4
COUNTS = ("requests_per_minute", "tokens_per_minute")


def without_nul(data: QueryDict) -> QueryDict:
    """Return a form without NUL characters, which the database cannot keep."""
    if not any("\0" in text for _, texts in data.lists() for text in texts):
        return data
    clean_data = data.copy()
    for name, texts in data.lists():
        clean_data.setlist(name, [text.replace("\0", "") for text in texts])
    return clean_data


def from_post(
    data: QueryDict, *, kept_limits: dict[str, object], currency: str = ""
) -> Typed:
    """Return the posted form; `kept_limits` are those that have no box in it.

    `currency` is that of a form without a box for it.
    """
    data = unsigned(data, currency or data.get("currency", ""))
    uids = [uid for uid in dict.fromkeys(data.getlist("row")) if is_uid(uid)]
    return Typed(
        currency=data.get("currency", ""),
        charges=[_charge(data, uid) for uid in uids[:CHARGES_MAX]],
        levels=levels.from_post(data),
        prorate="prorate" in data,
        limits={
            **kept_limits,
            **_limits(data),
            **margins.from_post(data, kept_limits),
        },
        currencies=_currencies(data),
        terms=term_texts.from_post(data),
    )


def _currencies(data: QueryDict) -> dict[str, dict[str, dict[str, str]]]:
    """Return the figures in further currencies, by currency and row."""
    found: dict[str, dict[str, dict[str, str]]] = {
        code: {} for code in data.getlist("further")[:CURRENCIES_MAX]
    }
    for box in data:
        head, _, rest = box.partition("-")
        currency, _, rest = rest.partition("-")
        uid, _, name = rest.partition("-")
        if (
            head == "cur"
            and currency in found
            and (is_uid(uid) or uid == WHOLE)
            and name
        ):
            found[currency].setdefault(uid, {})[name] = data.get(box, "")
    return found


def _charge(data: QueryDict, uid: str) -> Charge:
    """Return one row of charges."""
    conditions = zip_longest(
        data.getlist(f"{uid}-filter_property"),
        data.getlist(f"{uid}-filter_values"),
        fillvalue="",
    )
    return Charge(
        uid,
        _price(data, uid, data.get(f"{uid}-model", ""), DEPTH_MAX),
        key=data.get(f"{uid}-key", "").strip(),
        name=data.get(f"{uid}-name", ""),
        unit=data.get(f"{uid}-unit", ""),
        metric=data.get(f"{uid}-metric", ""),
        filters=list(conditions)[:FILTER_KEYS_MAX],
        bounds={name: data.get(f"{uid}-bound-{name}", "") for name in BOUNDS},
        is_open=bool(data.get(f"{uid}-open")),
    )


def _price(data: QueryDict, prefix: str, model: str, depth: int) -> Price:
    """Return the price below a prefix, and the one inside it.

    Where another model was chosen than the boxes are for, what fits is carried over.
    """
    was = data.get(f"{prefix}-was", model)
    if was == model or model not in MODELS:
        return _as_shown(data, prefix, model, depth)
    return MODELS[model].start(_as_shown(data, prefix, was, depth))


def _as_shown(data: QueryDict, prefix: str, model: str, depth: int) -> Price:
    """Return the price that the boxes are for."""
    form = MODELS.get(model)
    if form is None:
        return Price(JSON_MODEL, {"json": data.get(f"{prefix}-json", "")})
    values = {
        p.name: data.get(f"{prefix}-{p.name}", p.start)
        for p in form.params
        if p.kind != "rows"
    }
    price = Price(model, values)
    price.rows = {
        p.name: _rows(data, p, prefix) for p in form.params if p.kind == "rows"
    }
    if form.tiered:
        columns = (data.getlist(f"{prefix}-{name}") for name in Tier.__slots__)
        tiers = list(zip_longest(*columns, fillvalue=""))[:TIERS_MAX]
        price.tiers = [Tier(*tier) for tier in tiers] or [Tier()]
        price.tiers[-1].up_to = ""
    if form.inner:
        inner = data.get(f"{prefix}-{form.inner}", "")
        if inner not in form.inner_models or depth == 1:
            inner = form.inner_models[0]
        price.inner = _price(data, f"{prefix}-o", inner, depth - 1)
        if form.name == "package":
            price.inner.values["per"] = "1"  # Packages are priced one by one.
    return price


def _rows(data: QueryDict, param: Param, prefix: str) -> rows.Rows:
    """Return the rows of a table as they stand in it, blank ones too."""
    names = [column.name for column in param.columns]
    texts = (data.getlist(f"{prefix}-{param.name}-{name}") for name in names)
    found = [
        dict(zip(names, row, strict=True)) for row in zip_longest(*texts, fillvalue="")
    ]
    return rows.settled(param, found[: param.rows_max + 1])


def _limits(data: QueryDict) -> dict[str, object]:
    """Return the limits that have boxes; what is blank is no limit."""
    found: dict[str, object] = {}
    for name in COUNTS:
        text = clean(data.get(name, ""))
        found[name] = _whole(text) if text else None
    found["spend_cap"] = clean(data.get("spend_cap", "")) or None
    quotas = zip_longest(
        data.getlist("quota_metric"),
        data.getlist("quota_limit"),
        data.getlist("quota_on_exceed"),
        fillvalue="",
    )
    found["quotas"] = [
        {"metric": metric, "limit": _whole(clean(limit)), "on_exceed": on_exceed}
        for metric, limit, on_exceed in list(quotas)[:QUOTAS_MAX]
        if metric or limit.strip()
    ]
    return found


def _whole(text: str) -> int | str:
    """Return a whole number as one, anything else as it was typed."""
    short = len(text) <= 20 and text.isascii() and text.isdecimal()
    return int(text) if short else text


def whole(text: str, default: int) -> int:
    """Return a small whole number of a form, or the default."""
    iswhole = text.isascii() and text.isdecimal() and len(text) < 10
    return int(text) if iswhole else default
