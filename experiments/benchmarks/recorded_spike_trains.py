"""A neuron fitted to recorded spike trains, beside Poisson, renewal and GLM baselines.

Judged is the fit by the signature-kernel MMD on the held-out third of each condition: its
Kolmogorov-Smirnov distance of intervals less that of the best baseline; the two-sample test of
sequences of intervals by signature kernels, which must also reject the Poisson baseline; and the
time-rescaling test, which must pass where that of the GLM does. The recordings are not part of the
repository: give the folders of finished runs, or files of spike times.
"""

import json
from pathlib import Path

from ..recorded_spike_trains.fit import Settings, run
from ..recorded_spike_trains.judging import Verdict, is_model, table
from ._study import Study

JUDGED = "signature-kernel MMD"
POISSON, GLM, TRAINING = "Poisson", "GLM with history", "recorded, training part"


def study(
    folder: tuple[Path, ...] = (), spikes: tuple[Path, ...] = (), model: str = "auto"
) -> Study:
    """Judge finished fits, or fit and judge.

    Args:
        folder: folders that `roughsnn fit` has written.
        spikes: files of spike times, a condition each, fitted one by one where no folder is given.
        model: of a new fit.

    Raises:
        ValueError: neither folders nor files, or one that does not exist.
    """
    for path in (*folder, *spikes):
        if not path.exists():
            raise ValueError(
                f"{path} does not exist. Recordings are not part of the repository: give files of "
                "spike times with `--spikes FILE ...`, or finished runs with `--folder RUN ...`."
            )
    if not folder and not spikes:
        raise ValueError(
            "There is nothing to judge, and recordings are not part of the repository: give files "
            "of spike times with `--spikes FILE ...`, or finished runs with `--folder RUN ...`."
        )
    if not folder:
        folder = tuple(run(Settings(spikes=(file,), model=model)).folder for file in spikes)  # pyright: ignore
    verdicts: list[Verdict] = []
    for one in folder:
        verdicts += read_verdicts(one)
    return judge_fits(verdicts)


def read_verdicts(folder: Path) -> list[Verdict]:
    """The verdicts of a finished run.

    Raises:
        ValueError: a folder that no fit has written to its end.
    """
    path = folder / "results.json"
    if not path.is_file():
        raise ValueError(f"{folder} has no results.json; give the folder of a finished fit.")
    rows = json.loads(path.read_text(encoding="utf-8"))["verdicts"]
    return [Verdict(**{k: float("nan") if v is None else v for k, v in r.items()}) for r in rows]


def judge_fits(verdicts: list[Verdict]) -> Study:
    """Figures and bounds for each neuron and condition."""
    figures, bounds = {}, {}
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.neuron, verdict.condition), []).append(verdict)
    several = len({neuron for neuron, _ in groups}) > 1
    for (neuron, condition), group in groups.items():
        name = condition if not several else f"{condition}_neuron_{neuron}"
        by_name = {v.generator: v for v in group}
        fitted = next((v for v in group if v.generator.endswith(JUDGED)), None)
        if fitted is None:
            raise ValueError(f"{condition}: no fit by the {JUDGED} among {sorted(by_name)}.")
        baselines = [v for v in group if not is_model(v.generator)]
        best = min(v.interval_distance for v in baselines)
        figures[f"{name}_interval_distance"] = fitted.interval_distance
        figures[f"{name}_interval_distance_above_best_baseline"] = fitted.interval_distance - best
        bounds[f"{name}_interval_distance_above_best_baseline"] = "<= 0"
        figures[f"{name}_interval_distance_above_best_baseline_error"] = fitted.above_best_error
        if TRAINING in by_name:
            figures[f"{name}_interval_distance_of_training_part"] = by_name[
                TRAINING
            ].interval_distance
        figures[f"{name}_kernel_test_p"] = fitted.kernel_p
        bounds[f"{name}_kernel_test_p"] = "> 0.05"
        figures[f"{name}_kernel_test_p_poisson"] = by_name[POISSON].kernel_p
        bounds[f"{name}_kernel_test_p_poisson"] = "<= 0.05"
        figures[f"{name}_time_rescaling_p"] = fitted.rescaling_p
        if GLM in by_name:
            figures[f"{name}_time_rescaling_p_glm"] = by_name[GLM].rescaling_p
            if by_name[GLM].rescaling_p > 0.05:
                bounds[f"{name}_time_rescaling_p"] = "> 0.05"
    return Study(figures, bounds, table(verdicts))
