"""A plan as a person reads it: one table, 80 columns wide."""

from __future__ import annotations

from hanseg_lab.training.planning.plan import Plan
from hanseg_shared.memory_limits import gigabytes

HEADINGS = ("what", "needed", "there is", "how this is known")


def plan_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Return the table's rows: memory, disk and time, each with its parts."""
    return [*_memory_rows(plan), *_disk_rows(plan), *_time_rows(plan)]


def plan_title(plan: Plan) -> str:
    """Return what is planned, and where, in two lines."""
    recipe, machine, survey = plan.recipe, plan.machine, plan.survey
    return (
        f"{recipe.name} {recipe.version}: {survey.cases} cases ({survey.with_mr} with"
        f" MR), {survey.phantoms} simulated patients\n"
        f"this machine: {machine.cores} processors, {machine.gpu or 'no GPU'}"
    )


def _memory_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    needs, machine = plan.needs, plan.machine
    patch = " x ".join(map(str, plan.measured.patch))
    scaled = f"a step on {patch}, scaled"
    network = [
        ("  weights, optimiser", _size(needs.weight_bytes), "", "counted"),
        ("  one step", _size(needs.activation_bytes), "", scaled),
    ]
    kept = ("  samples kept", _size(needs.kept_bytes), "", "from headers")
    processes = f"estimated; {needs.preparing_processes} at once"
    rows = [
        ("memory", _size(plan.memory_bytes), _size(machine.memory_bytes), "the most"),
        ("  preparing", _size(needs.preparing_bytes), "", processes),
    ]
    if not machine.gpu:
        return [*rows, *network, kept]
    there = _size(machine.gpu_bytes)
    return [
        *rows,
        kept,
        ("GPU memory", _size(plan.gpu_bytes), there, "the sum"),
        *network,
    ]


def _disk_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    needs = plan.needs
    there = _size(plan.machine.disk_bytes)
    rows = [
        ("disk", _size(plan.disk_bytes), there, "the sum"),
        ("  samples", _size(needs.sample_bytes), "", "from headers"),
        ("  registered MRs", _size(needs.registered_bytes), "", "estimated"),
        ("  checkpoints", _size(needs.checkpoint_bytes), "", "counted"),
        ("  model package", _size(needs.package_bytes), "", "counted"),
    ]
    if plan.localiser is not None:
        whole = _size(plan.localiser.disk_bytes)
        rows.append(("  localiser", whole, "", "all of these, of its own"))
    return rows


def _time_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    needs, recipe = plan.needs, plan.recipe
    limited = recipe.minutes is not None and (
        needs.training_seconds
        < recipe.folds * recipe.iterations * needs.iteration_seconds
    )
    how = (
        f"{recipe.minutes:g} minutes" if limited else f"{recipe.iterations} iterations"
    )
    networks = "" if recipe.folds == 1 else f", {recipe.folds} networks"
    iteration = f"{needs.iteration_seconds:.3g} s"
    rows = [
        ("time", duration(plan.seconds), "", "the sum"),
        ("  registering", duration(needs.registering_seconds), "", "estimated"),
        ("  preparing", duration(needs.preparing_seconds), "", "estimated"),
        ("  training", duration(needs.training_seconds), "", f"{how}{networks}"),
        ("    an iteration", iteration, "", "a step, scaled; and patches cut"),
    ]
    if plan.localiser is not None:
        whole = duration(plan.localiser.seconds)
        rows.append(("  localiser", whole, "", "one network more, trained before"))
    return rows


def _size(count: float) -> str:
    """Return bytes as a person reads them; what is small in MB."""
    return gigabytes(int(count)) if count >= 1e8 else f"{count / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Return a time in the largest unit that leaves a figure above 1."""
    units = ((86_400, "days"), (3_600, "h"), (60, "min"))
    for length, name in units:
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {name}"
    return f"{seconds:.0f} s"
