"""Neighbourhood of a combination: whether its result is a plateau or a spike."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from onetape.optimization.ranking import TrialResult, get_metric_value


def compute_neighbour_medians(order: Sequence[TrialResult], metric: str) -> list[float | None]:
    """Return the median in-sample metric of the neighbours of each combination.

    Neighbours differ in one parameter, by one step to the next value that was tried. If they are as
    good as the combination, it is on a plateau; if they are far worse, it is a spike, whose result
    small changes of the market would end.

    Args:
        order: Results in any order.
        metric: Metric to compare.

    Returns:
        Medians in the order of `order`; None where fewer than two neighbours have the metric.
    """
    if not order:
        return []
    names = list(order[0]["parameters"])
    tried: list[list[Any]] = [
        sorted({one["parameters"][name] for one in order}, key=_make_sort_key) for name in names
    ]
    places = [{value: at for at, value in enumerate(values)} for values in tried]
    keys = [
        tuple(places[at][one["parameters"][name]] for at, name in enumerate(names)) for one in order
    ]
    values = {
        key: get_metric_value(one, "in_sample", metric)
        for key, one in zip(keys, order, strict=True)
    }
    return [_compute_neighbour_median(key, values) for key in keys]


def _compute_neighbour_median(
    key: tuple[int, ...], values: dict[tuple[int, ...], float | None]
) -> float | None:
    around = (
        values.get((*key[:at], place + step, *key[at + 1 :]))
        for at, place in enumerate(key)
        for step in (-1, 1)
    )
    known = [value for value in around if value is not None]
    return median(known) if len(known) > 1 else None


def _make_sort_key(value: Any) -> tuple[str, Any]:
    return ("", value) if isinstance(value, int | float) else ("text", str(value))
