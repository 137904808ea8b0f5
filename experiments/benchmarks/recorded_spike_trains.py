"""A neuron fitted to recorded spike trains, beside Poisson, renewal and GLM baselines.

Judged is the fit by the signature-kernel MMD on the held-out third of each condition: its
Kolmogorov-Smirnov distance of intervals less that of the best baseline; the two-sample test of
sequences of intervals by signature kernels, which must also reject the Poisson baseline; and the
time-rescaling test, which must pass where that of the GLM does. The recordings are not part of the
repository: give the folders of finished runs, or files of spike times.

With several splits and seeds (`--splits 0 1 2 --seeds 0 1 2`) all fits are listed, and judged is
what they come to: for each recording the median of how much more than a standard error the distance
is above the best baseline's, how many of the fits the kernel test rejects and how many Poisson
processes it does not, and how many free-running models run away. Every fit has a folder under
`--output`: the same command again reads those that are finished, and goes on with one that was cut
off.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Literal, cast

import numpy as np

from roughsnn.io.whole_file import whole_file
from roughsnn.runs.folder import read_settings

from ..recorded_spike_trains.fit import Settings, run
from ..recorded_spike_trains.judging import REJECTED, TRAINING_PART, Verdict, is_model, table
from ..recorded_spike_trains.reporting import AWAY
from ._study import Study, format_table

JUDGED = "signature-kernel MMD"
POISSON, GLM = "Poisson", "GLM with history"

COST, RESULTS = "cost.json", "results.json"
"""Files of a fit: seconds of the processor, of the session that finished it; and what it found."""

FITS = (
    "recording", "model", "loss at the start", "after training", "by chance",
    "above best baseline", "error", "p, kernel test", "of Poisson", "p, time rescaling",
    "rate (Hz)", "of training part", "CPU seconds",
)  # fmt: skip
"""What is listed of every fit; the losses are of large fresh samples."""


def study(
    folder: tuple[Path, ...] = (),
    spikes: tuple[Path, ...] = (),
    model: str = "auto",
    splits: tuple[int, ...] = (2,),
    seeds: tuple[int, ...] = (0,),
    output: Path = Path("runs/recorded-spike-trains"),
) -> Study:
    """Judge finished fits, or fit and judge.

    Args:
        folder: folders that `roughsnn fit` has written.
        spikes: files of spike times, a condition each, fitted one by one where no folder is given.
        model: of a new fit.
        splits: which of three successive blocks is held out, for a fit each.
        seeds: of the noise, for a fit each.
        output: folder of the fits; those that are finished there are not made again.

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
    if not folder and len(splits) * len(seeds) > 1:
        return fit_and_summarise(spikes, model, splits, seeds, output)
    if not folder:
        folder = tuple(fitted(file, model, splits[0], seeds[0], output)[0] for file in spikes)
    verdicts: list[Verdict] = []
    for one in folder:
        verdicts += read_verdicts(one)
    return judge_fits(verdicts)


def fitted(file: Path, model: str, split: int, seed: int, output: Path) -> tuple[Path, float]:
    """The folder of a fit by the kernel loss, and its seconds of the processor. One that is
    finished is read, one that was cut off goes on."""
    own = output / f"{file.stem}-{model}-split-{split}-seed-{seed}"
    settings = Settings(
        spikes=(file,), model=cast("Literal['auto']", model), hold_out=cast("Literal[2]", split),
        seed=seed, losses=("signature-kernel",), progress=False, output=own,
    )  # fmt: skip
    if begun := sorted(own.glob("*/settings.json")):
        folder = begun[-1].parent
        if dataclasses.replace(read_settings(folder, Settings), resume=None) != settings:
            raise ValueError(f"{folder} is of other settings; give another folder by `--output`.")
        if (cost := folder / COST).is_file():
            return folder, json.loads(cost.read_text(encoding="utf-8"))["seconds"]
        settings = dataclasses.replace(settings, resume=folder)
    began = time.process_time()
    folder = run(settings).folder
    seconds = time.process_time() - began
    with whole_file(folder / COST) as to:
        to.write(json.dumps({"seconds": seconds}).encode())
    return folder, seconds


def fit_and_summarise(
    spikes: tuple[Path, ...], model: str, splits: tuple[int, ...], seeds: tuple[int, ...],
    output: Path,
) -> Study:  # fmt: skip
    """Fit every recording with every split and seed, and judge them together."""
    verdicts: list[list[Verdict]] = []
    rows = []
    for file in spikes:
        for split in splits:
            for seed in seeds:
                folder, seconds = fitted(file, model, split, seed, output)
                found = [
                    dataclasses.replace(v, condition=f"{v.condition}, split {split}, seed {seed}")
                    for v in read_verdicts(folder)
                ]
                verdicts.append(found)
                fit = _of(found, JUDGED)
                ((name, (losses,)),) = json.loads((folder / RESULTS).read_text())["losses"].items()
                rows.append([
                    fit.condition, name.split(", ")[0], losses["at the start"],
                    losses["after training"], losses["by chance"], fit.above_best,
                    fit.above_best_error, fit.kernel_p, _of(found, POISSON).kernel_p,
                    fit.rescaling_p, fit.rate, _of(found, TRAINING_PART).rate, f"{seconds:.0f}",
                ])  # fmt: skip
                print(format_table(FITS, rows[-1:]), flush=True)
    judged = summarise(verdicts)
    return dataclasses.replace(judged, table=f"{format_table(FITS, rows)}\n\n{judged.table}")


def summarise(fits: list[list[Verdict]]) -> Study:
    """Figures and bounds of several fits, each with its verdicts."""
    figures: dict[str, float] = {}
    bounds = {}
    above: dict[str, list[float]] = {}
    rejected = accepted = away = 0
    for verdicts in fits:
        fit = _of(verdicts, JUDGED)
        recording = fit.condition.split(", split")[0]
        above.setdefault(recording, []).append(fit.above_best - fit.above_best_error)
        figures[f"{fit.condition}: above best baseline"] = fit.above_best
        figures[f"{fit.condition}: kernel test p"] = fit.kernel_p
        rejected += fit.kernel_p <= REJECTED
        accepted += _of(verdicts, POISSON).kernel_p > REJECTED
        away += not fit.rate < AWAY * _of(verdicts, TRAINING_PART).rate
    for recording, values in above.items():
        name = f"{recording}: median of distance above best baseline less standard error"
        figures[name] = float(np.median(values))
        bounds[name] = "<= 0"
    figures["fits rejected by the kernel test"] = rejected
    bounds["fits rejected by the kernel test"] = "<= 1"
    figures["Poisson processes not rejected"] = accepted
    bounds["Poisson processes not rejected"] = "<= 0"
    figures["models that run away"] = away
    bounds["models that run away"] = "<= 0"
    return Study(figures, bounds, table([v for verdicts in fits for v in verdicts]))


def _of(verdicts: list[Verdict], name: str) -> Verdict:
    return next(v for v in verdicts if v.generator.endswith(name))


def read_verdicts(folder: Path) -> list[Verdict]:
    """The verdicts of a finished run.

    Raises:
        ValueError: a folder that no fit has written to its end.
    """
    path = folder / RESULTS
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
        if TRAINING_PART in by_name:
            distance = by_name[TRAINING_PART].interval_distance
            figures[f"{name}_interval_distance_of_training_part"] = distance
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
