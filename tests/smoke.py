"""A minute's check of an installation: spikes come out, and their derivatives are exact.

`python tests/smoke.py` needs no test tools, so it also runs where only the package is installed.
"""

import platform
import sys

import jax
import numpy as np

import roughsnn as rs

jax.config.update("jax_enable_x64", True)


def main() -> int:
    neuron = rs.StochasticLIF(sigma=0.5)

    @jax.jit
    def spike_times(current):
        trains = rs.simulate(
            neuron,
            0.0,
            2.0,
            0.02,
            key=jax.random.key(0),
            num_samples=16,
            max_spikes=3,
            stop_after=3,
            input_current=current,
        )
        return trains.times

    times, slopes = jax.jvp(spike_times, (1.5,), (1.0,))
    step = 1e-6
    differences = (spike_times(1.5 + step) - spike_times(1.5 - step)) / (2 * step)
    assert np.all(np.isfinite(times)), "a trial ended before its third spike"
    np.testing.assert_allclose(slopes, differences, rtol=1e-5, atol=1e-7)
    print(f"ok: Python {platform.python_version()}, jax {jax.__version__}, {times.size} spikes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
