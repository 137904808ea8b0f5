"""The table of a run."""

from typing import Any

import numpy as np

KINDS = ("random feedback", "hidden weights fixed")
REFERENCE = {KINDS[0]: (70.0, 79.3, 84.6, 82.1, 81.9), KINDS[1]: (46.3, 64.5, 69.3)}
"""Accuracies after each epoch of an implementation written apart, one network each."""


def of_kind(results: dict[str, Any], kind: str, name: str) -> np.ndarray:
    """What was measured of the networks of a kind, one row each."""
    return np.asarray([one[name] for one in results[kind]], float)


def _words(values: np.ndarray, digits: int = 1) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f}"


def report(settings, results: dict[str, Any]) -> str:
    """What was measured, in Markdown."""
    lines = ["| after epoch | random feedback | reference | hidden weights fixed | reference |"]
    lines.append("|---" * 5 + "|")
    accuracy = {kind: 100 * of_kind(results, kind, "accuracy") for kind in KINDS}
    for epoch in range(accuracy[KINDS[0]].shape[1]):
        row = [str(epoch)]
        for kind in KINDS:
            known = REFERENCE[kind][epoch - 1 : epoch] if epoch else ()
            row += [_words(accuracy[kind][:, epoch]), f"{known[0]:g}" if known else ""]
        lines.append("| " + " | ".join(row) + " |")
    lines += ["", "| figure | random feedback | hidden weights fixed |", "|---|---|---|"]
    for name, text in (("angle", "angle in degrees"), ("errors", "error spikes of a sample")):
        found = {kind: of_kind(results, kind, name) for kind in KINDS}
        for place, when in ((0, "at first"), (-1, "at last")):
            values = " | ".join(_words(found[kind][:, place]) for kind in KINDS)
            lines.append(f"| {text}, {when} | {values} |")
    return "\n".join(lines)
