"""Scores of the reference cases as figures beside the site's limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hanseg_lab.commissioning.limits import Limit, Limits
from hanseg_lab.evaluation.scores import Score
from hanseg_lab.evaluation.structures import in_label_order, organs_in
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.signing.sheet import LimitCheck, OrganSheet, PhantomSheet

OF_METRIC = {
    Limit.DSC: Metric.DSC,
    Limit.HD95: Metric.HD95,
    Limit.SURFACE_DSC: Metric.SURFACE_DSC,
}

UNITS = {
    Limit.DSC: "",
    Limit.HD95: " mm",
    Limit.SURFACE_DSC: "",
    Limit.VOLUME_BIAS: " %",
}

DIGITS = {
    Limit.DSC: 3,
    Limit.HD95: 2,
    Limit.SURFACE_DSC: 3,
    Limit.VOLUME_BIAS: 1,
}
"""Of a figure on the sheet; it is judged with all of its digits."""

Values = Mapping[tuple[str, Metric], Sequence[float]]


def judge_organs(
    scores: Iterable[Score], limits: Limits, tolerances_mm: Mapping[str, float]
) -> tuple[OrganSheet, ...]:
    """Return every structure that was scored, in order of the labels.

    Args:
        scores: Of all cases; an organ that was missed has Dice 0 and infinite
            distances.
        limits: The site's.
        tolerances_mm: Of each organ, for the surface Dice.
    """
    values: dict[tuple[str, Metric], list[float]] = {}
    for score in scores:
        values.setdefault((score.organ, score.metric), []).append(score.value)
    names = in_label_order({organ for organ, _ in values})
    return tuple(_judge(name, values, limits, tolerances_mm) for name in names)


def _judge(
    name: str, values: Values, limits: Limits, tolerances_mm: Mapping[str, float]
) -> OrganSheet:
    found = values[name, Metric.VOLUME]
    allowed = _limits_of(name, limits)
    checks = tuple(
        _check(limit, _figures(limit, name, values), allowed.get(limit))
        for limit in Limit
    )
    return OrganSheet(
        organ=name,
        cases=len(found),
        missed=sum(volume <= 0 for volume in found),
        tolerance_mm=min(tolerances_mm[each] for each in organs_in(name)),
        checks=checks,
        passed=all(check.passed for check in checks),
    )


def _limits_of(structure: str, limits: Limits) -> dict[Limit, float]:
    """Return an organ's limits; of organs contoured as one, the strictest."""
    found: dict[Limit, float] = {}
    for name in organs_in(structure):
        for limit, value in limits.organs[name].items():
            strict = max if limit.is_share else min
            found[limit] = strict(value, found.get(limit, value))
    return found


def _figures(limit: Limit, name: str, values: Values) -> list[float]:
    if limit in OF_METRIC:
        return list(values[name, OF_METRIC[limit]])
    pairs = zip(
        values[name, Metric.VOLUME], values[name, Metric.REFERENCE_VOLUME], strict=True
    )
    return [100.0 * (ours - theirs) / theirs for ours, theirs in pairs if theirs > 0]


def _check(limit: Limit, figures: list[float], allowed: float | None) -> LimitCheck:
    mean = math.fsum(figures) / len(figures) if figures else math.nan
    known = math.isfinite(mean)
    return LimitCheck(
        metric=limit.value,
        mean=round(mean, 4) if known else None,
        limit=allowed,
        passed=allowed is None or (known and _meets(limit, mean, allowed)),
    )


def _meets(limit: Limit, mean: float, allowed: float) -> bool:
    return mean >= allowed if limit.is_share else abs(mean) <= allowed


def describe_failures(
    organs: Sequence[OrganSheet],
    phantoms: Sequence[PhantomSheet],
    *,
    cases: int,
    limits: Limits,
) -> tuple[str, ...]:
    """Return each limit that is not met, in a sentence."""
    few = cases < limits.least_cases
    return (
        *(
            [f"There are {cases} reference cases; the limit is {limits.least_cases}."]
            if few
            else []
        ),
        *(line for organ in organs for line in _failures_of(organ)),
        *(line for each in phantoms for line in _failure_of(each, limits)),
    )


def _failures_of(organ: OrganSheet) -> Iterator[str]:
    for check in organ.checks:
        if check.passed or check.limit is None:
            continue
        limit = Limit(check.metric)
        word = "at least" if limit.is_share else "at most"
        allowed = f"the limit is {word} {check.limit:g}{UNITS[limit]}"
        if check.mean is None:
            yield (
                f"{organ.organ}: {limit} has no mean, since the organ was not "
                f"contoured in {organ.missed} of {organ.cases} cases; {allowed}."
            )
            continue
        figure = f"{check.mean:.{DIGITS[limit]}f}{UNITS[limit]}"
        yield (
            f"{organ.organ}: {limit} is {figure} in the mean of {organ.cases} cases; "
            f"{allowed}."
        )


def _failure_of(phantom: PhantomSheet, limits: Limits) -> Iterator[str]:
    if phantom.passed:
        return
    if phantom.mean_mm is None:
        yield f"Registration, CT stored as {phantom.position}: there was none."
        return
    verdict = phantom.verdict.value if phantom.verdict else "unknown"
    yield (
        f"Registration, CT stored as {phantom.position}: the MR was {verdict}, "
        f"{phantom.mean_mm:.2f} mm off in the mean; the limit is at most "
        f"{limits.target_error_mm:g} mm, and the MR used."
    )
