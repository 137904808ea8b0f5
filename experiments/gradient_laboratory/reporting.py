"""The tables of a run."""

from typing import Any

import numpy as np

from .bench import TRUTH
from .learning import ALLOWED

HEADINGS = {
    "threshold": "Yin-Yang, neurons that fire at a threshold",
    "noise": "Yin-Yang, escape noise and noise of the membrane",
    "matching": "Spike trains matched by a signature kernel",
}
LEARNED = ", learned"
"""What the name of a part ends with that holds what a rule learned."""
LARGEST_Z = 3.4
WITHOUT_NOISE = ("threshold",)
JUDGED = {"threshold": "test accuracy, %", "noise": "test accuracy, %", "matching": "loss"}


def rules_in(settings, results: dict[str, Any], task: str) -> dict[str, dict[str, Any]]:
    """What was measured of each rule that takes the task."""
    found = {}
    for name, one in results.items():
        of, _, rule = name.partition(": ")
        if of == task and _is_rule(rule) and "refused" not in one:
            found[rule] = one | {"learned": results[name + LEARNED]}
    return found


def _is_rule(part: str) -> bool:
    return part not in ("truth", "times") and not part.endswith(LEARNED)


def refusals(results: dict[str, Any], task: str) -> dict[str, str]:
    """The rules that refuse a task, and what they say."""
    return {
        name.partition(": ")[2]: one["refused"]
        for name, one in results.items()
        if name.startswith(f"{task}: ") and "refused" in one and not name.endswith(LEARNED)
    }


def times_of(results: dict[str, Any], task: str) -> dict[str, float]:
    """CPU milliseconds of a step."""
    return results[f"{task}: times"]


def reached(settings, results: dict[str, Any], task: str) -> dict[str, tuple[float, float]]:
    """What each rule has reached: after all steps, and in the time that the fastest rule needs for
    them."""
    times = times_of(results, task)
    rules = rules_in(settings, results, task)
    budget = settings.steps * min(times[rule] for rule in rules)
    found = {}
    for rule, one in rules.items():
        curve = one["learned"]
        affordable = min(settings.steps, budget / times[rule])
        found[rule] = (
            curve["judged"][-1], float(np.interp(affordable, curve["steps"], curve["judged"])),
        )  # fmt: skip
    return found


def _number(value: float) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.3g}"


def _cosine(one: dict[str, float]) -> str:
    # where an estimate scatters so much that its length is not known, neither is its cosine
    if not np.isfinite(one["cosine"]):
        return ""
    error = one["cosine error"]
    return _number(one["cosine"]) + (f" ± {_number(error)}" if np.isfinite(error) else "")


def _z(value: float) -> str:
    if not np.isfinite(value):
        return ""
    # as many random signs as there are tell no more
    return f"{value:.1f}" if value < LARGEST_Z else f"> {LARGEST_Z:.1f}"


def report(settings, results: dict[str, Any]) -> str:
    """What was measured, in Markdown."""
    lines = []
    for task in settings.tasks:
        lines += [f"## {HEADINGS[task]}", "", *_truth(results, task), ""]
        lines += [*_gradients(settings, results, task), "", *_learned(settings, results, task), ""]
        refused = refusals(results, task)
        if refused:
            lines += ["Refused:", ""]
            lines += [f"- {rule}: {text}" for rule, text in refused.items()] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _truth(results: dict[str, Any], task: str) -> list[str]:
    one = results[f"{task}: truth"]
    z = ", ".join(f"{value:+.1f}" for value in one["z"])
    return [
        f"True gradient: {TRUTH[task]}, {one['samples']:,} samples, length {one['length']:.3g}. "
        "Central differences with the same random numbers, along it and along a random "
        f"direction, lie {z} standard errors from it."
    ]


def _gradients(settings, results: dict[str, Any], task: str) -> list[str]:
    head = ("rule", "unbiased", "cosine", "of one step", "bias", "bias along the gradient", "z",
            "variance", "of the noise alone")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for rule, one in rules_in(settings, results, task).items():
        along, error = one["along"], one["along error"]
        z = float("nan") if task in WITHOUT_NOISE and one["noise"] < 0.1 else one["deviation"]
        if one["unbiased"] == "for its averaged loss":
            along, error = one["own along"], one["own along error"]
            z = along / error
        row = (
            rule, one["unbiased"], _cosine(one),
            _number(one["one step"]), _number(one["bias"]), f"{along:+.3f} ± {error:.3f}",
            _z(z), _number(one["variance"]), _number(one["noise"]),
        )  # fmt: skip
        lines.append("| " + " | ".join(row) + " |")
    return lines


def _learned(settings, results: dict[str, Any], task: str) -> list[str]:
    rates = [f"{rate:g}" for rate in settings.rates]
    head = ("rule", "CPU ms", "over exact", "scratch, MB", *(f"loss at {r}" for r in rates),
            "rate", f"{JUDGED[task]}, at first", f"after {settings.steps} steps",
            "in equal time")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    times, ends = times_of(results, task), reached(settings, results, task)
    exact = times.get(TRUTH[task], float("nan"))
    for rule, one in rules_in(settings, results, task).items():
        learned = one["learned"]
        row = (
            rule, _number(times[rule]), _number(times[rule] / exact),
            _number(one["scratch"] / 1e6), *_losses(learned),
            f"{learned['best']:g}", _number(learned["judged"][0]), *map(_number, ends[rule]),
        )  # fmt: skip
        lines.append("| " + " | ".join(row) + " |")
    return lines


def _losses(learned: dict[str, Any]) -> list[str]:
    """The loss at the end of the search with each rate, in brackets where trials outgrew their
    room."""
    pairs = zip(learned["losses"], learned["overflowed"], strict=True)
    return [f"({_number(x)})" if over > ALLOWED else _number(x) for x, over in pairs]


def judged_biases(settings, results: dict[str, Any]) -> dict[str, float]:
    """For each rule that theory calls unbiased, and each task: how many standard errors it is off,
    along the gradient and as a whole, the larger of both. Where nothing is random there are none;
    see `gaps`."""
    found = {}
    for task in settings.tasks:
        for rule, one in rules_in(settings, results, task).items():
            if one["unbiased"] == "for this loss" and task not in WITHOUT_NOISE:
                error = one["along error"]
                along = abs(one["along"]) / error if error > 0 else 0.0
                found[f"{task}: {rule}"] = max(along, one["deviation"])
            elif one["unbiased"] == "for its averaged loss":
                found[f"{task}: {rule}"] = abs(one["own along"]) / one["own along error"]
    return found


def gaps(settings, results: dict[str, Any]) -> dict[str, float]:
    """Where nothing is random: the distance of each exact gradient from the true one, over the
    length of that."""
    return {
        f"{task}: {rule}": one["bias"]
        for task in settings.tasks
        if task in WITHOUT_NOISE
        for rule, one in rules_in(settings, results, task).items()
        if one["unbiased"] == "for this loss"
    }
