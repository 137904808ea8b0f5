"""What a fit with a stimulus found, in words and tables."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ..reading import Recording
from ..reporting import first_line
from .data import DrivenData
from .fitting import DrivenFit
from .judging import DrivenVerdict


def describe_driven(fit: DrivenFit, data: DrivenData) -> dict[str, tuple[float, float]]:
    """The parameters with units, each with its standard error: times in seconds."""
    m, e, unit = fit.model, fit.errors, data.unit

    def logarithm(value, error, scale):
        found = scale(float(jnp.exp(value)))
        return found, abs(found) * float(error)

    numbers = {
        "time constant of the leak (s)": logarithm(m.log_leak, e.log_leak, lambda x: unit / x),
    }
    for c, name in enumerate(data.conditions):
        numbers[f"current without stimulus, {name} (e-folds)"] = (
            float(m.offset[c]), float(e.offset[c]),
        )  # fmt: skip
        if c:
            numbers[f"gain, {name} (of that of {data.conditions[0]})"] = logarithm(
                m.log_gain[c - 1], e.log_gain[c - 1], lambda x: x
            )
    what = "potential after a spike" if m.form.spike == "resets" else "what a spike takes off"
    numbers[f"{what} (e-folds)"] = (float(m.reset), float(e.reset))
    if m.form.adapts:
        numbers["rise of the threshold at a spike (e-folds)"] = (
            float(m.adaptation), float(e.adaptation),
        )  # fmt: skip
        numbers["time constant of the threshold (s)"] = logarithm(
            m.log_adaptation_rate, e.log_adaptation_rate, lambda x: unit / x
        )
    if m.form.shape != "exponential":
        kind = "largest intensity" if m.form.shape == "sigmoid" else "scale of the intensity"
        numbers[f"{kind} (1/s)"] = logarithm(m.log_rate, e.log_rate, lambda x: x / unit)
    return numbers


def driven_table(verdicts: list[DrivenVerdict]) -> str:
    """The verdicts as a Markdown table."""
    names = [field.name.replace("_", " ") for field in dataclasses.fields(DrivenVerdict)]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for verdict in verdicts:
        cells = [
            ("-" if np.isnan(x) else f"{x:.3g}") if isinstance(x, float) else str(x)
            for x in dataclasses.astuple(verdict)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def warnings_of(verdicts: list[DrivenVerdict]) -> list[str]:
    """Why a fit cannot be trusted, if so."""
    told = []
    for v in verdicts:
        if not v.model.startswith("driven"):
            continue
        if v.rescaling_p <= 0.05:
            told.append(
                f"neuron {v.neuron}: the time-rescaling test rejects it (p {v.rescaling_p:.2g})"
            )
        if v.kernel_p <= 0.05:
            told.append(f"neuron {v.neuron}: the kernel test rejects it (p {v.kernel_p:.2g})")
        if v.run_away > 0:
            told.append(f"neuron {v.neuron}: {v.run_away:.0%} of its free-running trials run away")
        if v.above_glm < 0:
            told.append(
                f"neuron {v.neuron}: the GLM is likelier by {-v.above_glm:.2g} nats a spike"
            )
    return told


def driven_report(
    recording: Recording, sections, verdicts: list[DrivenVerdict], remarks: list[str]
) -> str:
    """The report as Markdown."""
    lines = [
        first_line(warnings_of(verdicts)), "", "# Fitted to spikes with their stimulus", "",
        "Every third block of thirty mean intervals is held out. *Log-likelihood* is that of a "
        "held-out spike given all that came before, in nats above the Poisson process of the "
        "training rate; *above glm* the same above the GLM, with its standard error over the "
        "held-out blocks. The *time-rescaling* and the *kernel* test pass at p > 0.05; the second "
        "compares windows of the recording with free-running ones under the same stimulus. *Rate "
        "correlation* is that of free-running with recorded rates.", "",
        driven_table(verdicts), "",
    ]  # fmt: skip
    lines += [f"- {remark}" for remark in remarks]
    for neuron, told, numbers in sections:
        lines += ["", f"## Neuron {neuron}", "", *[f"- {line}" for line in told], ""]
        lines += ["| parameter | value | standard error |", "|---|---|---|"]
        for name, (value, error) in numbers.items():
            unknown = " (the recording does not tell)" if error > abs(value) else ""
            lines.append(f"| {name} | {value:.4g} | {error:.2g}{unknown} |")
    lines += ["", "## Pictures", ""]
    lines += [f"![neuron {n}](neuron-{i}.png)" for i, n in enumerate(recording.names)]
    return "\n".join(lines)
