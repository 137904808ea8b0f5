r"""How well the weights can be known from n trials.

With $s_b$ the derivative of the log-likelihood of trial b at the true weights, the Fisher
information of one trial is $J = \mathrm{Cov}(s)$, and no unbiased estimator from n trials has a
covariance below $(n J)^{-1}$ (Cramer-Rao). A method that sees a trial only through the mean of
statistics $\phi$ has at most

$$
J_\phi = \mathrm{Cov}(s, \phi)\, \mathrm{Cov}(\phi)^{-1}\, \mathrm{Cov}(\phi, s) \le J ,
$$

the information of the best weighting of those means (generalised method of moments), since
$\mathrm{Cov}(\phi, s)$ is the derivative of $E\phi$ by the weights. A normal error of standard
deviation $d$ has the mean absolute value $d \sqrt{2 / \pi}$.
"""

from typing import NamedTuple

import jax.random as jr
import numpy as np
from jaxtyping import Float

from roughsnn.signatures import event_signature

from .weights_likelihood import RECEIVERS, Scores, scores
from .weights_network import CONNECTIONS, WeightsTask, trials
from .weights_words import groups, neuron_words


class Information(NamedTuple):
    """Information of one trial on the weights into each neuron of `RECEIVERS`.

    Attributes:
        likelihood: Fisher information.
        words: information of the means of the words of `weights_words`.
        signature: that of the truncated signature of depth 3 of the neuron and its senders, `None`
            where it has too many coordinates for the sample.
        score_bias: mean score of all weights, in standard errors, whose mean square is 1 if the
            likelihood is right.
    """

    likelihood: list[Float[np.ndarray, "w w"]]
    words: list[Float[np.ndarray, "w w"]]
    signature: list[Float[np.ndarray, "w w"] | None]
    score_bias: Float[np.ndarray, "weights"]


def information(task: WeightsTask, num_trials: int = 2048, num_paths: int = 16) -> Information:
    """Estimated from fresh trials at the true weights.

    Raises:
        ValueError: so few trials that the words cannot be told from chance.
    """
    if num_trials < 500:
        raise ValueError(f"`num_trials` is {num_trials}; the words of an output need 500 or more.")
    key, noise = jr.split(jr.fold_in(task.key, 2000))
    trains = trials(task.truth, key, num_trials)
    found = scores(task.truth, trains, noise, num_paths)
    words = {}
    for (receivers, _), phi in zip(groups(), neuron_words(trains), strict=True):
        for i, j in enumerate(receivers):
            words[j] = np.asarray(phi[:, i], dtype=float)
    fisher, seen, signatures, bias = [], [], [], []
    for i, j in enumerate(RECEIVERS):
        s = of_neuron(found, i)
        fisher.append(np.cov(s.T))
        bias.append(s.mean(0) / (s.std(0) / np.sqrt(len(s))))
        seen.append(projected(s, words[j]))
        channels = [*np.flatnonzero(CONNECTIONS[:, j]).tolist(), int(j)]
        small = (1 + len(channels)) ** 3 * 4 < num_trials
        part = None
        if small:
            s3 = event_signature(trains.select(channels), 3)
            part = projected(s, np.asarray(s3, dtype=float))
        signatures.append(part)
    return Information(fisher, seen, signatures, np.concatenate(bias))


def of_neuron(found: Scores, i: int) -> Float[np.ndarray, "trials w"]:
    """The scores of the weights into receiver number i."""
    return found.score[:, CONNECTIONS[:, RECEIVERS[i]], i].astype(float)


def projected(
    s: Float[np.ndarray, "trials w"], phi: Float[np.ndarray, "trials p"]
) -> Float[np.ndarray, "w w"]:
    """Covariance of what a linear regression on phi explains of s, corrected for the share that p
    random statistics would explain."""
    s, phi = s - s.mean(0), phi - phi.mean(0)
    basis, scale, _ = np.linalg.svd(phi / np.maximum(phi.std(0), 1e-12), full_matrices=False)
    basis = basis[:, scale > 1e-6 * scale[0]]
    n, p = basis.shape
    explained = basis.T @ s
    all_of_it, part = s.T @ s / (n - 1), explained.T @ explained / (n - 1)
    return (part - p / (n - 1) * all_of_it) / (1 - p / (n - 1))


def error_bounds(found: Information, sample_sizes: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """For each sample size the mean absolute error of weights whose errors are normal with the
    least covariance: all weights by the likelihood and by the words; those into the neurons that
    have few senders by these two and by the signature of depth 3."""
    few = [i for i, part in enumerate(found.signature) if part is not None]
    return {
        str(n): {
            "likelihood": _mean_error(found.likelihood, n),
            "words": _mean_error(found.words, n),
            "likelihood_hidden": _mean_error([found.likelihood[i] for i in few], n),
            "words_hidden": _mean_error([found.words[i] for i in few], n),
            "signature_hidden": _mean_error([found.signature[i] for i in few], n),
        }
        for n in sample_sizes
    }


def _mean_error(informations: list, sample_size: int) -> float:
    if not informations:
        return float("nan")
    spread = [np.sqrt(np.diag(np.linalg.inv(sample_size * j))) for j in informations]
    return float(np.sqrt(2 / np.pi) * np.concatenate(spread).mean())


def bounds_table(bounds: dict[str, dict[str, float]]) -> str:
    """The bounds as Markdown."""
    names = {
        "likelihood": "likelihood",
        "words": "words",
        "likelihood_hidden": "likelihood, hidden",
        "words_hidden": "words, hidden",
        "signature_hidden": "signature of depth 3, hidden",
    }
    lines = ["| n | " + " | ".join(names.values()) + " |", "|---" * (1 + len(names)) + "|"]
    for n, row in bounds.items():
        lines.append(f"| {n} | " + " | ".join(f"{row[name]:.4f}" for name in names) + " |")
    return "\n".join(lines)
