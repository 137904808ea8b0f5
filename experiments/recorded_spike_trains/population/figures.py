"""A population beside its recording."""

import numpy as np

from roughsnn.plotting.style import colour, tidy

from .judging import Recorded, Samples, pooled


def draw_population(recorded: Recorded, samples: dict[str, Samples], bin: float):
    """Rasters of the held-out part and of a sample of the first model, counts of the population,
    and correlations of pairs.

    Args:
        recorded: the data.
        samples: of each model, the first of which is drawn as a raster.
        bin: in which spikes are counted, in seconds.
    """
    import matplotlib.pyplot as plt

    seconds = recorded.seconds - recorded.cut
    figure, axes = plt.subplots(2, 2, figsize=(9.0, 6.0), layout="constrained")
    order = np.argsort([x.size for x in recorded.train])
    held = [x[x >= recorded.cut] - recorded.cut for x in recorded.spikes]
    first = next(iter(samples))
    for ax, trains, title in (
        (axes[0, 0], held, "recorded, held out"), (axes[0, 1], samples[first][0], first),
    ):  # fmt: skip
        ax.eventplot([trains[n] for n in order], colors="black", linelengths=0.9, linewidths=0.5)
        ax.set_xlim(0, seconds)
        ax.set_title(title, fontsize=8)
        tidy(ax, "time (s)", "neuron")
    ax = axes[1, 0]
    counts = recorded.held_out.counts(bin).sum(1)
    most = 2 * int(counts.max())
    edges = np.arange(most + 2) - 0.5
    ax.stairs(np.histogram(counts, edges, density=True)[0], edges, fill=True, color="0.85",
              label="recorded, held out")  # fmt: skip
    for number, (name, drawn) in enumerate(samples.items()):
        own = pooled(drawn, seconds).counts(bin).sum(1)
        share = np.histogram(own, edges)[0] / own.size
        ax.stairs(share, edges, color=colour(number), linewidth=1, label=name)
    ax.legend(frameon=False, fontsize=7)
    tidy(ax, f"spikes of all neurons in {1000 * bin:g} ms", "share of bins")
    ax = axes[1, 1]
    pairs = np.triu_indices(len(recorded.spikes), 1)
    truth = np.corrcoef(recorded.held_out.counts(bin).T)[pairs]
    for number, (name, drawn) in enumerate(samples.items()):
        with np.errstate(invalid="ignore"):
            own = np.corrcoef(pooled(drawn, seconds).counts(bin).T)[pairs]
        ax.plot(truth, own, ".", markersize=1, color=colour(number), label=name, alpha=0.4)
    ax.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
    ax.set_xlim(-0.3, 0.6)
    ax.set_ylim(-0.3, 0.6)
    tidy(ax, "correlation of a pair, held out", "generated")
    return figure
