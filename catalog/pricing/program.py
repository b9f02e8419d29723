"""A plan made ready for rating: which charges an event touches, found once per kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from catalog.pricing.meters import Part, part_of
from catalog.pricing.plan import Aggregation, Charge, Metric, Plan, Source

# Kinds of events and plans remembered; clients choose property values, so bounded.
KINDS_MAX = 4096
PLANS_MAX = 256


@dataclass(frozen=True, slots=True)
class Route:
    """A charge that events of one kind touch."""

    index: int  # Of the charge in the plan.
    charge_key: str
    measurement: str | None  # To be summed: the usual case, read without detours.
    metric: Metric


@dataclass(slots=True)
class Program:
    """A plan with its price curves and its filters sorted for matching."""

    plan: Plan
    parts: tuple[Part | None, ...]  # By charge; None for a flat amount.
    groups: tuple[tuple[Metric, tuple[int, ...]], ...]  # By metric, dearest filter 1st.
    filter_keys: tuple[str, ...]  # The properties that any filter reads.
    kinds: dict[tuple[str | None, ...], tuple[Route, ...]] = field(default_factory=dict)

    def routes(
        self, event_type: str, properties: Mapping[str, str]
    ) -> tuple[Route, ...]:
        """Return the charges that an event touches: for each metric the best match."""
        kind = (event_type, *map(properties.get, self.filter_keys))
        found = self.kinds.get(kind)
        if found is None:
            if len(self.kinds) >= KINDS_MAX:
                self.kinds.clear()
            found = self.kinds[kind] = self._match(event_type, properties)
        return found

    def _match(
        self, event_type: str, properties: Mapping[str, str]
    ) -> tuple[Route, ...]:
        """Choose the most specific charge of each metric, in declared order."""
        charges = self.plan.charges
        chosen = []
        for metric, indexes in self.groups:
            if metric.event_types and event_type not in metric.event_types:
                continue
            for index in indexes:
                if charges[index].filter.matches(properties):
                    summed = _summed_measurement(metric)
                    chosen.append(Route(index, charges[index].key, summed, metric))
                    break
        return tuple(sorted(chosen, key=lambda route: route.index))


def _summed_measurement(metric: Metric) -> str | None:
    """Return the name of the measurement whose values are taken as they are."""
    if metric.source is Source.MEASUREMENT and metric.aggregation is Aggregation.SUM:
        return metric.field
    return None


_programs: dict[int, Program] = {}


def program_of(plan: Plan) -> Program:
    """Return the plan made ready, remembered for as long as the plan is in use."""
    # By identity: hashing a plan costs more than rating an event. The program holds
    # its plan, so an id cannot be taken over while it is remembered.
    found = _programs.get(id(plan))
    if found is None or found.plan is not plan:
        found = _build(plan)
        if len(_programs) >= PLANS_MAX:
            _programs.clear()
        _programs[id(plan)] = found
    return found


def _build(plan: Plan) -> Program:
    """Work out curves and the order of matching."""
    parts: list[Part | None] = []
    groups: dict[str, tuple[Metric, list[int]]] = {}
    keys: set[str] = set()
    for index, charge in enumerate(plan.charges):
        if charge.metric is None:
            parts.append(None)
            continue
        parts.append(part_of(charge, plan.currency))
        groups.setdefault(charge.metric.key, (charge.metric, []))[1].append(index)
        keys.update(key for key, _ in charge.filter.conditions)
    return Program(
        plan=plan,
        parts=tuple(parts),
        groups=tuple(
            (metric, tuple(sorted(indexes, key=_by_specificity(plan.charges))))
            for metric, indexes in groups.values()
        ),
        filter_keys=tuple(sorted(keys)),
    )


def _by_specificity(charges: tuple[Charge, ...]) -> Callable[[int], tuple[int, int]]:
    """Return the sort key: most conditions first, then declared order."""
    return lambda index: (-charges[index].filter.specificity, index)
