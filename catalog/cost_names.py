"""By which names the public price list knows models, and who makes them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from genai_prices import data_snapshot

from catalog.cost_context import names

# Where the provider is not told: who makes the models, then who only serves them.
MAKERS = (
    "openai anthropic google deepseek mistral x-ai cohere meta perplexity moonshotai"
    " minimax zai voyageai aws azure groq together fireworks cerebras"
).split()
_ORDER = {provider: index for index, provider in enumerate(MAKERS)}


def home_order(provider: str) -> tuple[int, str]:
    """Return what sorts providers, those that make models first."""
    return _ORDER.get(provider, len(_ORDER)), provider


@lru_cache(maxsize=4096)
def candidates(model: str, provider: str) -> tuple[tuple[str, str], ...]:
    """Return as what a model may have rates, the likeliest first: (provider, name).

    The name as it is comes first, then what the price list says it is called, then
    the name without prefix, version and date; but a dated model that is listed apart
    (gpt-4o-2024-05-13) is never taken for the undated one.
    """
    guesses = names(model)
    first = next((hint for hint, _ in guesses if hint), "")
    found = [("", model), ("", model.lower())]
    listed: set[str] = set()
    for hint, name in guesses:
        for where, known in _listed(provider or hint or first, name):
            listed.add(known)
            found.append((where, known))
        if listed:
            break
    ids = _all_ids()
    found += [g for g in guesses if not listed or g[1] not in ids or g[1] in listed]
    return tuple(dict.fromkeys(found))


def _listed(provider: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the models of the price list that match a name, at whom it was used."""
    snapshot = data_snapshot.get_snapshot()
    for known in sorted(snapshot.providers, key=lambda p: home_order(p.id)):
        if provider and known.id != provider:
            continue
        if not provider and known.id not in _ORDER:
            break
        info = known.find_model(name)
        if info is not None:
            yield (known.id if provider else ""), info.id
            return


@lru_cache(maxsize=1)
def _all_ids() -> frozenset[str]:
    """Return the ids of all models of the price list."""
    snapshot = data_snapshot.get_snapshot()
    return frozenset(m.id for p in snapshot.providers for m in p.models)
