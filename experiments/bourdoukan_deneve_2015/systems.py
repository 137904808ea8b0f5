"""The linear dynamical systems that networks learn, and the signals they are taught with."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import expm
from jaxtyping import Array, Float, PRNGKeyArray


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """A system dx/dt = A x + c.

    Attributes:
        name: what it is called.
        matrix: A, per second.
        drive: standard deviation of each component of the input c while it is taught, per second.
        size: size of a signal in free response.
    """

    name: str
    matrix: np.ndarray
    drive: float
    size: float = 8.0

    @property
    def dimension(self) -> int:
        """Number of signals."""
        return len(self.matrix)


def oscillation(decay: float, frequency: float) -> np.ndarray:
    """A damped oscillation of two signals; decay and angular frequency per second."""
    return np.array([[-decay, -frequency], [frequency, -decay]])


@functools.cache
def system_named(name: str) -> System:
    """The system of a name.

    Raises:
        ValueError: there is none of that name.
    """
    if name == "oscillator":
        return System(name, oscillation(4.0, 12.0), 24.0)
    if name == "integrator":
        return System(name, np.zeros((2, 2)), 12.0)
    if name == "random":
        # two damped oscillations in planes that random rotations mix
        rng = np.random.default_rng(4)
        blocks = np.zeros((4, 4))
        blocks[:2, :2] = oscillation(rng.uniform(3, 5), rng.uniform(4, 8))
        blocks[2:, 2:] = oscillation(rng.uniform(3, 5), rng.uniform(8, 14))
        turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
        return System(name, turn @ blocks @ turn.T, 24.0)
    raise ValueError(f"`systems` holds {name!r}; it may hold {', '.join(NAMES)}.")


NAMES = ("oscillator", "integrator", "random")
"""The systems there are."""


def draw_inputs(
    system: System, key: PRNGKeyArray, steps: int, dt0: float, correlation: float = 0.1
) -> tuple[Float[Array, "steps J"], Float[Array, "steps J"]]:
    """An Ornstein-Uhlenbeck input and the signal that the system makes of it, from 0 on.

    Args:
        system: the system.
        key: of the input.
        steps: steps.
        dt0: length of a step, s.
        correlation: correlation time of the input, s.
    """
    advance, gain = propagators(system, dt0)
    kept = np.exp(-dt0 / correlation)
    kicks = system.drive * np.sqrt(1 - kept**2) * jax.random.normal(key, (steps, system.dimension))

    def step(state, kick):
        x, c = state
        c = kept * c + kick
        x = advance @ x + gain @ c
        return (x, c), (c, x)

    start = jnp.zeros(system.dimension, kicks.dtype)
    return jax.lax.scan(step, (start, start), kicks)[1]


def signal_of(
    system: System, inputs: Float[Array, "steps J"], dt0: float
) -> Float[Array, "steps J"]:
    """The signal at the end of each step, for an input that is held over steps, from 0 on."""
    advance, gain = propagators(system, dt0)

    def step(x, c):
        x = advance @ x + gain @ c
        return x, x

    return jax.lax.scan(step, jnp.zeros(system.dimension, inputs.dtype), inputs)[1]


def propagators(system: System, dt0: float) -> tuple[Float[Array, "J J"], Float[Array, "J J"]]:
    """The matrices of an exact step: x becomes the first times x plus the second times c."""
    j = system.dimension
    block = np.zeros((2 * j, 2 * j))
    block[:j, :j], block[:j, j:] = system.matrix * dt0, np.eye(j) * dt0
    whole = expm(jnp.asarray(block))
    return whole[:j, :j], whole[:j, j:]
