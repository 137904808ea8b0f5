"""A neuron driven by its recorded stimulus, beside a GLM with stimulus and spike history.

Judged is the fit by the exact likelihood on the held-out third of the recording: the log-likelihood
of a spike above that of the GLM; the time-rescaling test; the test of conditional laws, which
compares windows of the recording with free-running ones under the same stimulus by signature
kernels; the correlation of the free-running with the recorded rate less that of the GLM; and how
many free-running trials run away. The recordings are not part of the repository: give the folders
of finished runs, or the files.
"""

import json
from pathlib import Path

from ..recorded_spike_trains.driven.judging import DrivenVerdict
from ..recorded_spike_trains.driven.reporting import driven_table
from ..recorded_spike_trains.fit import Settings, run
from ._study import Study


def study(
    folder: tuple[Path, ...] = (),
    spikes: Path | None = None,
    stimulus: Path | None = None,
    stop: float | None = None,
    hold_out: tuple[int, ...] = (2,),
    seed: int = 0,
) -> Study:
    """Judge finished fits, or fit and judge.

    Args:
        folder: folders that `roughsnn fit --stimulus` has written.
        spikes: file of spike times, where no folder is given.
        stimulus: file of its stimulus.
        stop: when the recording ended, in the unit of the file.
        hold_out: which thirds are held out, one fit for each.
        seed: of all random numbers.

    Raises:
        ValueError: neither folders nor files, or one that does not exist.
    """
    for path in (*folder, *[x for x in (spikes, stimulus) if x is not None]):
        if not path.exists():
            raise ValueError(
                f"{path} does not exist. Recordings are not part of the repository: give files "
                "with `--spikes FILE --stimulus FILE`, or finished runs with `--folder RUN ...`."
            )
    if not folder and (spikes is None or stimulus is None):
        raise ValueError(
            "There is nothing to judge, and recordings are not part of the repository: give files "
            "with `--spikes FILE --stimulus FILE`, or finished runs with `--folder RUN ...`."
        )
    if not folder:
        assert spikes is not None
        assert stimulus is not None
        folder = tuple(
            run(
                Settings(
                    spikes=(spikes,), stimulus=(stimulus,), stop=stop, hold_out=which,  # pyright: ignore
                    rate_kernel=0.005, seed=seed,
                )
            ).folder
            for which in hold_out
        )  # fmt: skip
    return judge_runs([read_driven(one) for one in folder])


def read_driven(folder: Path) -> list[DrivenVerdict]:
    """The verdicts of a finished run.

    Raises:
        ValueError: a folder that no fit with a stimulus has written to its end.
    """
    path = folder / "results.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if "driven" not in rows:
        raise ValueError(
            f"{folder} has no results of a fit with a stimulus; give the folder of a finished one."
        )
    return [DrivenVerdict(**row) for row in rows["driven"]]


def judge_runs(runs: list[list[DrivenVerdict]]) -> Study:
    """Figures and bounds for each neuron of each run."""
    figures, bounds = {}, {}
    for number, verdicts in enumerate(runs):
        for neuron in dict.fromkeys(v.neuron for v in verdicts):
            mine = {v.model.split(" ")[0]: v for v in verdicts if v.neuron == neuron}
            if set(mine) != {"driven", "GLM"}:
                raise ValueError(
                    f"run {number}, neuron {neuron} has {sorted(mine)}; a neuron and a GLM are "
                    "compared. Install nemos and fit again."
                )
            name = f"run_{number}_neuron_{neuron}_" if len(runs) > 1 else f"neuron_{neuron}_"
            name = name.replace("neuron_0_", "")
            fitted, glm = mine["driven"], mine["GLM"]
            judged = {
                "log_likelihood_above_glm": (fitted.above_glm, "> 0"),
                "time_rescaling_p": (fitted.rescaling_p, "> 0.05"),
                "conditional_kernel_p": (fitted.kernel_p, "> 0.05"),
                "rate_correlation_above_glm": (
                    fitted.rate_correlation - glm.rate_correlation, ">= 0",
                ),
                "run_away": (fitted.run_away, "<= 0"),
            }  # fmt: skip
            figures |= {name + key: value for key, (value, _) in judged.items()}
            bounds |= {name + key: bound for key, (_, bound) in judged.items()}
            figures |= {
                name + "log_likelihood": fitted.log_likelihood,
                name + "log_likelihood_above_glm_error": fitted.above_glm_error,
                name + "time_rescaling_p_glm": glm.rescaling_p,
                name + "conditional_kernel_p_glm": glm.kernel_p,
                name + "rate_correlation": fitted.rate_correlation,
                name + "run_away_glm": glm.run_away,
            }
    return Study(figures, bounds, driven_table([v for verdicts in runs for v in verdicts]))
