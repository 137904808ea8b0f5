"""The table of a run, beside what is known of the source."""

from typing import Any

import numpy as np


def noise_curve(settings, results: dict[str, Any]) -> np.ndarray:
    """Scores of the axis over the strengths of noise."""
    return np.asarray([results[f"noise {noise}"]["score"] for noise in settings.noises])


def report(settings, results: dict[str, Any]) -> str:
    """What was measured, in Markdown; the source's numbers are not at hand, so the last column has
    those of an independent implementation on a grid of 25 x 25 pixels with a larger time
    constant."""
    axes, turned = results["vertical"], np.asarray(results["oriented"]["errors"])
    scenes, tuning, photo = results["scenes"], results["tuning"], results["photograph"]
    curve = noise_curve(settings, results)
    best = settings.noises[int(curve.argmax())]
    scores, controls = np.asarray(axes["scores"]), np.asarray(axes["controls"])
    rows = [
        ("score of the axis, least to largest", f"{scores.min():.2f} to {scores.max():.2f}",
         "4.0 to 5.7"),
        ("the axis has the largest mean", f"{sum(axes['first'])} of {scores.size}", "5 of 5"),
        ("score without symmetry", f"{controls.min():.2f} to {controls.max():.2f}", "0.06 to 0.68"),
        ("axes in any direction: within 7.5 degrees and 1.5 pixels",
         f"{int(((turned[:, 0] < 7.6) & (turned[:, 1] <= 1.5)).sum())} of {len(turned)}", ""),
        ("noise with the largest score", f"{best:g}: {curve.max():.2f}", "0.3: 2.57"),
        ("score at the least and the largest noise", f"{curve[0]:.2f}, {curve[-1]:.2f}",
         "0, 1.12"),
        ("buildings against vegetation, AUC over scenes", f"{scenes['auc']:.3f}", ""),
        ("the same by the number of edge pixels alone", f"{scenes['auc_of_counts']:.3f}", ""),
        ("density in one scene, buildings and vegetation",
         f"{photo['mean_buildings']:.2f}, {photo['mean_vegetation']:.2f}", ""),
        ("relative error of delays before and after tuning",
         f"{tuning['error_before']:.4f}, {tuning['error_after']:.5f}", ""),
        ("pairs detected before and after, of " + str(tuning["pairs"]),
         f"{tuning['detected_before']}, {tuning['detected_after']}", ""),
    ]  # fmt: skip
    lines = ["| figure | measured | reference implementation |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {other} |" for name, value, other in rows]
    lines += ["", "| noise | score | standard error |", "|---|---|---|"]
    for noise in settings.noises:
        row = results[f"noise {noise}"]
        lines.append(f"| {noise:g} | {row['score']:.2f} | {row['error']:.2f} |")
    return "\n".join(lines)
