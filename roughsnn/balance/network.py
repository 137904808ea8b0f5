"""Networks that keep a readout close to a signal by the balance of excitation and inhibition."""

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._checks import number
from ..neurons import parameter


class BalancedNetwork(eqx.Module):
    r"""N leaky integrate-and-fire neurons that represent J signals, with fast and slow connections.

    With the spike trains $o$, the filtered spike trains $r$ and the readout $\hat x$,

    $$
    \frac{dV}{dt} = -\lambda V + F c + W r - \Omega\, o + \text{noise}, \qquad
    \frac{dr}{dt} = -\lambda r + o, \qquad \hat x = D r.
    $$

    Neuron i fires at $V_i > T_i$. Its spike acts at once: it adds 1 to $r_i$, and takes the column
    $\Omega_{\cdot i}$ off the potentials of all neurons. The diagonal of $\Omega$ is the reset.
    (Bourdoukan, Barrett, Machens & Deneve 2012; Bourdoukan & Deneve 2015.)

    Attributes:
        encoder: weights F of the input, shape (N, J).
        fast: fast connections $\Omega$, shape (N, N), from column to row; positive ones inhibit.
        slow: slow connections W, shape (N, N), from column to row; positive ones excite. By
            default there are none.
        threshold: thresholds T, shape (N,); by default half the diagonal of `fast`, so that a spike
            takes the potential from T to -T.
        decoder: weights D of the readout, shape (J, N); by default the transpose of the encoder.
        leak: rate $\lambda > 0$ at which potentials and readout decay, per unit of time.
        noise: standard deviation of the noise of the potentials, per square root of time.

    Raises:
        ValueError: no neurons or no signals, shapes that do not fit together, or a value outside
            its range, named.
    """

    encoder: Float[Array, "N J"]
    fast: Float[Array, "N N"]
    slow: Float[Array, "N N"]
    threshold: Float[Array, " N"]
    decoder: Float[Array, "J N"]
    leak: float = eqx.field(static=True)
    noise: float = eqx.field(static=True)

    def __init__(
        self,
        encoder: Float[ArrayLike, "N J"],
        fast: Float[ArrayLike, "..."],
        *,
        slow: Float[ArrayLike, "..."] | None = None,
        threshold: Float[ArrayLike, "..."] | None = None,
        decoder: Float[ArrayLike, "..."] | None = None,
        leak: float = 1.0,
        noise: float = 0.0,
    ):
        self.encoder = checked_encoder(encoder)
        n, j = self.encoder.shape
        self.fast = parameter("fast", fast, shapes=((n, n),))
        slow = jnp.zeros((n, n), self.fast.dtype) if slow is None else slow
        self.slow = parameter("slow", slow, shapes=((n, n),))
        threshold = jnp.diagonal(self.fast) / 2 if threshold is None else threshold
        self.threshold = parameter("threshold", threshold, shapes=((n,),), positive=True)
        decoder = self.encoder.T if decoder is None else decoder
        self.decoder = parameter("decoder", decoder, shapes=((j, n),))
        self.leak = number("leak", leak, positive=True)
        self.noise = number("noise", noise, least=0)

    @property
    def num_neurons(self) -> int:
        """N."""
        return self.encoder.shape[0]

    @property
    def num_signals(self) -> int:
        """J."""
        return self.encoder.shape[1]


def optimal_network(
    encoder: Float[ArrayLike, "N J"],
    *,
    cost: float = 0.0,
    dynamics: Float[ArrayLike, "..."] | None = None,
    leak: float = 1.0,
    noise: float = 0.0,
) -> BalancedNetwork:
    r"""The network whose every spike lowers the loss $|x - \hat x|^2 + \mu |r|^2$.

    A spike of neuron i lowers it where $V_i = F_i (x - \hat x) - \mu r_i$ is above
    $T_i = (|F_i|^2 + \mu) / 2$. Following these potentials in time for a signal with
    $\dot x = A x + c$ gives

    $$
    \Omega = F F^\top + \mu I, \qquad W = F (A + \lambda I) F^\top, \qquad D = F^\top .
    $$

    Args:
        encoder: F; row i is the direction in which a spike of neuron i moves the readout.
        cost: the cost $\mu \ge 0$ of the filtered spike trains.
        dynamics: the matrix A; by default $-\lambda I$, a signal that is its input filtered with
            the leak, which needs no slow connections.
        leak: $\lambda$, of potentials and readout.
        noise: as in [`BalancedNetwork`][roughsnn.balance.BalancedNetwork].

    Raises:
        ValueError: as there; a neuron whose spike would not move the readout, with a cost of 0.
    """
    encoder = checked_encoder(encoder)
    n, j = encoder.shape
    cost = number("cost", cost, least=0)
    fast = encoder @ encoder.T + cost * jnp.eye(n, dtype=encoder.dtype)
    slow = None
    if dynamics is not None:
        dynamics = parameter("dynamics", dynamics, shapes=((j, j),)).astype(encoder.dtype)
        leak = number("leak", leak, positive=True)
        slow = encoder @ (dynamics + leak * jnp.eye(j, dtype=encoder.dtype)) @ encoder.T
    return BalancedNetwork(encoder, fast, slow=slow, leak=leak, noise=noise)


def recovered_dynamics(network: BalancedNetwork) -> Float[Array, "J J"]:
    r"""The dynamics that slow connections hold: the matrix A with $W = F (A + \lambda I) D$, in the
    sense of least squares: $A = F^+ W D^+ - \lambda I$ with pseudoinverses."""
    inverse, left = jnp.linalg.pinv(network.decoder), jnp.linalg.pinv(network.encoder)
    identity = jnp.eye(network.num_signals, dtype=network.slow.dtype)
    return left @ network.slow @ inverse - network.leak * identity


def matched_decoder(network: BalancedNetwork) -> Float[Array, "J N"]:
    r"""The decoder that belongs to the fast connections of a network, whatever they are:
    $D = F^+ \Omega$, with the pseudoinverse $F^+$.

    At rest all inputs of the neurons and all their spikes are filtered with one leak, so that
    $V + \Omega r = F z$ at all times, where z is what the network receives, filtered:

    $$
    \frac{dz}{dt} = -\lambda z + c + F^+ W r .
    $$

    (for slow connections within the range of F). So $z - D r = F^+ V$ for this decoder: the
    readout misses z by what potentials are away from 0, and nothing else. With
    $\Omega = F F^\top$ it is $F^\top$; with learned connections that are, say, all 5 % too weak,
    $F^\top r$ is 5 % more than the signal that the potentials stand for, and no slow connections
    can change that. Slow connections that fit it are $W = F (A + \lambda I) D$.

    Args:
        network: the network; what it has as its decoder does not matter.
    """
    return jnp.linalg.pinv(network.encoder) @ network.fast


def distance_to(
    fast: Float[Array, "N N"], optimum: Float[Array, "N N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""How far fast connections are from the optimum: the distance
    $|\Omega - \Omega^*|^2 / |\Omega^*|^2$ of the matrices, and the largest
    $|\Omega_{ij} - \Omega^*_{ij}|^2 / |\Omega^*_{ij}|^2$ of all entries.

    Bourdoukan et al. (2012), figures 1 and 2. An entry of the optimum that is 0 makes the largest
    infinite, or NaN.

    Args:
        fast: the connections $\Omega$.
        optimum: the connections $\Omega^*$.
    """
    squares, of_optimum = (fast - optimum) ** 2, optimum**2
    return jnp.sum(squares) / jnp.sum(of_optimum), jnp.max(squares / of_optimum)


def checked_encoder(encoder: Float[ArrayLike, "N J"]) -> Float[Array, "N J"]:
    """The encoder as an array, refused where it has no neurons or no signals."""
    array = parameter("encoder", encoder)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"`encoder` has shape {array.shape}; it must be (N, J), with a row for each of one or "
            "more neurons and a column for each of one or more signals."
        )
    return array
