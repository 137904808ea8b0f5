"""Faults of one kind: statistics, signatures, networks."""

import tracemalloc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs
from roughsnn.signatures import log_signature, signature_kernel_gram

from . import Fault, refusal


def _equal_samples() -> tuple[str, bool]:
    """Noise-free trials, all identical, in both precisions."""
    found = {}
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            x, y = (
                rs.simulate(
                    rs.LIF(mu1=20.0, mu2=10.0), 0.0, 1.0, 0.01, key=jax.random.key(seed),
                    num_samples=50, max_spikes=40, input_current=1.5,
                )
                for seed in (0, 1)
            )  # fmt: skip
            found[dtype] = float(rs.two_sample_test(x, y, key=jax.random.key(2)).p_value)
    return f"p = {found}", all(p == 1 for p in found.values())


def _degenerate_samples() -> tuple[str, bool]:
    """Samples without a spike, with one at the same time, and too small ones."""
    found = []
    for times in ([], [0.5]):
        trains = rs.SpikeTrains.from_lists([[times]] * 8, t0=0.0, t1=1.0)
        found.append(
            float(rs.two_sample_test(trains[:4], trains[4:], key=jax.random.key(0)).p_value)
        )
    text, right = refusal(
        lambda: rs.two_sample_test(trains[:1], trains, key=jax.random.key(0)), "two points or more"
    )
    return f"p = {found}; one train: {text}", right and found == [1, 1]


def _integer_paths() -> tuple[str, bool]:
    path = jnp.array([[0, 0], [1, 2]])
    exact = np.array([1, 2, 0.5, 1, 1, 2])
    found = rs.signature(path, 2)
    right = np.allclose(found, exact, atol=1e-6)
    for kind in (np.int8, np.uint8, np.float16, np.int64):
        paths = np.asarray([path, path], kind)
        right &= np.allclose(rs.expected_signature(paths, 2), exact, atol=1e-6)
        right &= np.allclose(log_signature(paths, 2)[0], [1, 2, 0], atol=1e-6)
        gram = signature_kernel_gram(paths, dyadic_order=5)
        # the kernel of a line with itself, the sum of 5^n / n!^2
        right &= np.allclose(gram, 17.0578, rtol=2e-3)
    text, refused = refusal(lambda: rs.signature(path * 1j, 2), "`paths`", "real")
    return f"{np.asarray(found).tolist()}; complex {text}", bool(right and refused)


def _no_synapses() -> tuple[str, bool]:
    """Networks without a synapse, beside their neurons alone."""
    key = jax.random.key(0)
    neurons = rs.LIF(5, mu1=20.0, mu2=10.0)

    def times(model):
        trains = rs.simulate(
            model, 0.0, 0.3, 0.01, key=key, num_samples=1, max_spikes=40, input_current=1.5
        )
        return np.asarray(trains.times)

    expected, largest = times(neurons), 0.0
    lists = (
        rs.random_connections(5, key=key, probability=0.0),
        rs.random_connections(5, key=key, in_degree=0),
        rs.SparseConnections([], [], 5),
    )
    networks = [rs.SpikingNetwork(neurons, jnp.zeros(0), connections) for connections in lists]
    networks.append(
        rs.SpikingNetwork(
            neurons, jnp.ones((5, 5)), jnp.zeros((5, 5), bool), synaptic_delays=0.02,
            input_weights=jnp.zeros((0, 5)),
        )
    )  # fmt: skip
    for network in networks:
        found = times(network)
        same = np.isfinite(expected)
        if not np.array_equal(same, np.isfinite(found)):
            return "other numbers of spikes", False
        largest = max(largest, float(np.abs(found[same] - expected[same]).max()))
    return f"{len(networks)} networks, largest difference of a spike {largest:.1e}", largest < 1e-5


def _many_connections() -> tuple[str, bool]:
    """Memory of random connections: of the synapses, not of all pairs."""
    tracemalloc.start()
    lists = (
        rs.random_connections(100_000, key=jax.random.key(0), in_degree=10),
        rs.random_connections(100_000, key=jax.random.key(0), probability=1e-4),
    )
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    numbers = [len(x) for x in lists]
    right = numbers[0] == 1_000_000 and abs(numbers[1] - 1e6) < 6e3 and peak < 500
    return f"{numbers} synapses, {peak:.0f} MB at most", right


def _silent_events() -> tuple[str, bool]:
    """Networks with delays or refractory periods and estimators that go from spike to spike."""
    neurons = rs.StochasticLIF(2, sigma=None)
    found = []
    for given in ({"axonal_delays": 0.1}, {"synaptic_delays": 0.1}, {"refractory": 0.1}):
        network = rs.SpikingNetwork(neurons, jnp.ones((2, 2)), **given)
        found.append(
            refusal(
                lambda network=network: rs.simulate_trials(
                    network, 0.0, 1.0, 0.1, key=jax.random.key(0), num_samples=2, max_spikes=9
                ),
                "delays or refractory periods", "between its spikes", "Pathwise()",
            )
        )  # fmt: skip
    return found[0][0], all(right for _, right in found)


_PAGES = {
    "how-to/units.md": ("MΩ · nA = mV", "max_excess", "E_L"),
    "how-to/save-models.md": ("write_model", "tree_serialise_leaves", "Checkpoints"),
    "how-to/from-event-sde-to-spikes.md": ("SpikeTrains(", "solution.ys.neurons.v"),
    "explanation/pathwise-gradients.md": ("property of the function", "gradients-recurrent.png"),
    "how-to/compile-times.md": ("jax_compilation_cache_dir", "jax_log_compiles"),
}


def _pages() -> tuple[str, bool]:
    """The pages that were missing, each with what it must say; tests run their code."""
    docs = Path(__file__).parents[3] / "docs"
    site = (docs / "mkdocs" / "mkdocs.yml").read_text(encoding="utf-8")
    missing = []
    for page, words in _PAGES.items():
        text = (docs / page).read_text(encoding="utf-8") if (docs / page).exists() else ""
        missing += [f"{page}: {word}" for word in words if word not in text]
        missing += [f"{page} in the site"] if page not in site else []
    return f"{len(_PAGES)} pages, missing: {missing or 'nothing'}", not missing


FAULTS: list[Fault] = [
    Fault(10, "equal samples are told apart", _equal_samples),
    Fault(10, "degenerate samples", _degenerate_samples),
    Fault(11, "signatures of integers", _integer_paths),
    Fault(12, "networks without a synapse", _no_synapses),
    Fault(14, "corrected estimators of networks with delays", _silent_events),
    Fault(27, "pages that were missing", _pages),
    Fault(13, "memory of random connections", _many_connections),
]
