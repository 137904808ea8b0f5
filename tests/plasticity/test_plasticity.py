"""Rules of spike timing, against loops written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.plasticity import BPSTDP, STDP, IntegrateAndFireLayers


def test_weights_learn_how_well_an_input_predicts_a_spike():
    """The mean of the weights over time is the fixed point, up to 2 %: some hundred independent
    stretches of one over the rate, whose weights spread by a tenth."""
    rule = STDP(rate=0.01, decay=0.2)
    p = np.array([0.2, 0.5, 0.9, 0.5])
    inputs = np.random.default_rng(0).random((20_000, 4)) < p

    def step(w, spikes):
        w = rule(w, spikes, jnp.array([True, False]))
        return w, w

    _, walk = jax.lax.scan(step, jnp.full((4, 2), 0.5), jnp.asarray(inputs))
    np.testing.assert_allclose(walk[2000:, :, 0].mean(0), rule.fixed_point(p), rtol=0.02)
    # of a neuron that does not fire nothing changes
    np.testing.assert_array_equal(walk[:, :, 1], 0.5)
    w = np.array([0.3, 0.0, 1.0])
    found = STDP(rate=0.5)(
        jnp.asarray(w)[:, None], jnp.array([True, False, False]), jnp.array([True])
    )
    np.testing.assert_allclose(found[:, 0], [0.3 + 0.5 * 0.7, 0, 1 - 0.5 * 0.75], rtol=1e-12)
    with pytest.raises(ValueError, match="`rate`"):
        STDP(rate=1.0)


def _layers(learns=None, steps=11, window=3):
    rng = np.random.default_rng(2)
    weights = [rng.normal(size=(5, 6)), rng.normal(size=(6, 4)), rng.normal(size=(4, 3))]
    thresholds = (0.7, 0.5, 0.6)
    inputs = (rng.random((steps, 5)) < 0.5).astype(float)
    rule = BPSTDP(rate=0.05, window=window, learns=learns)
    return rule, IntegrateAndFireLayers(weights, thresholds), weights, thresholds, inputs


@pytest.mark.parametrize("learns", [None, (False, False, True)])
def test_bp_stdp_is_its_loop(learns):
    rule, network, weights, thresholds, inputs = _layers(learns)
    found = rule.present(network, jnp.asarray(inputs), 1)
    w = [x.copy() for x in weights]
    u = [np.zeros(6), np.zeros(4), np.zeros(3)]
    history = []
    for t, s in enumerate(inputs):
        spikes = [s]
        for n in range(3):
            u[n] += spikes[-1] @ w[n]
            fired = u[n] >= thresholds[n]
            u[n][fired] = 0
            spikes.append(fired.astype(float))
        history.append(spikes)
        if (t + 1) % 3 == 0:
            counts = [sum(h[n] for h in history[-3:]) for n in range(4)]
            xi = np.zeros(3)
            for o in range(3):
                if o == 1 and counts[3][o] == 0:
                    xi[o] = 1
                if o != 1 and counts[3][o] > 0:
                    xi[o] = -1
            before = [x.copy() for x in w]
            w[2] += 0.05 * np.outer(counts[2], xi)
            xi2 = (before[2] @ xi) * (counts[2] > 0)
            xi1 = (before[1] @ xi2) * (counts[1] > 0)
            if learns is None:
                w[1] += 0.05 * np.outer(counts[1], xi2)
                w[0] += 0.05 * np.outer(counts[0], xi1)
    for a, b in zip(found.weights, w, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    changed = [np.abs(a - b).max() > 0.05 for a, b in zip(w, weights, strict=True)]
    assert changed == ([True] * 3 if learns is None else [False, False, True])
    # the same spikes where nothing learns
    rest = [np.zeros(6), np.zeros(4), np.zeros(3)]
    total = np.zeros(3)
    for s in inputs:
        for n in range(3):
            rest[n] += s @ weights[n]
            s = (rest[n] >= thresholds[n]).astype(float)
            rest[n] *= 1 - s
        total += s
    np.testing.assert_array_equal(network.counts(jnp.asarray(inputs)), total)


def test_what_does_not_fit_is_refused():
    rule, network, weights, _, inputs = _layers()
    with pytest.raises(ValueError, match="`weights` have the shapes"):
        IntegrateAndFireLayers(weights[::2], (1.0, 1.0))
    with pytest.raises(ValueError, match="`thresholds` has 1"):
        IntegrateAndFireLayers(weights, (1.0,))
    with pytest.raises(ValueError, match=r"`inputs` has shape \(11, 4\)"):
        rule.present(network, jnp.asarray(inputs[:, :4]), 0)
    with pytest.raises(ValueError, match="fewer than a window"):
        rule.present(network, jnp.asarray(inputs[:2]), 0)
    with pytest.raises(ValueError, match="`learns`"):
        BPSTDP(learns=(True,)).present(network, jnp.asarray(inputs), 0)
