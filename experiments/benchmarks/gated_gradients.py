"""Gradients of networks with gated synapses: adjoint and automatic against central differences.

Networks of four non-leaky, theta and leaky neurons with a slow and a fast population of gated
synapses, over 60 ms, in float64. The adjoint equations belong to continuous time, so their error
falls in proportion to the step; automatic differentiation is exact for the discretised network.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

from roughsnn.gated import (
    LIF,
    NIF,
    GatedNetwork,
    RaisedCosineGate,
    ThetaNeuron,
    adjoint_gradient,
    solve_gated,
)

from ._study import Study, format_table

NEURONS = {"nif": (NIF(10.0), 0.5), "theta": (ThetaNeuron(25.0), 0.3), "lif": (LIF(10.0), 1.5)}
"""Neurons, time constants in ms, with the mean of their bias: each fires by itself."""

N, WINDOW = 4, 60.0


def study(finest: float = 0.0005, steps: int = 4) -> Study:
    """Run the comparison.

    Args:
        finest: the smallest step of the solver, in ms.
        steps: how many steps, each four times the next.
    """
    with jax.enable_x64(True):
        figures, bounds, rows = {}, {}, []
        dts = [finest * 4**i for i in reversed(range(steps))]
        for kind in NEURONS:
            errors = []
            for dt in dts:
                adjoint, automatic, kinks = _errors(kind, dt)
                errors.append(adjoint)
                rows.append([kind, dt, adjoint, automatic, kinks])
                name = f"automatic_error_{kind}_dt_{dt:g}"
                figures[name], bounds[name] = automatic, "<= 1e-6"
            figures[f"adjoint_error_{kind}"] = errors[-1]
            bounds[f"adjoint_error_{kind}"] = "<= 1e-3"
            order = float(np.polyfit(np.log(dts), np.log(errors), 1)[0])
            figures[f"adjoint_order_{kind}"] = order
            bounds[f"adjoint_order_{kind}"] = "between 0.9 and 1.1"
            charge = max(_charge_error(kind, dt) for dt in (0.001, 0.1, 1.0, 2.5))
            figures[f"charge_error_{kind}"] = charge
            bounds[f"charge_error_{kind}"] = "<= 1e-12"
    header = ["neuron", "dt, ms", "adjoint error", "automatic error", "one-sided"]
    orders = [
        [kind, figures[f"adjoint_order_{kind}"], figures[f"charge_error_{kind}"]]
        for kind in NEURONS
    ]
    table = "relative error of the gradient of all parameters against central differences\n"
    table += format_table(header, rows) + "\n\n"
    table += "order of the adjoint in dt, and the largest error of the charge of a crossing\n"
    table += format_table(["neuron", "order", "charge error"], orders)
    return Study(figures, bounds, table)


def network(kind: str, taus=(10.0, 3.0)) -> GatedNetwork:
    """A small network with random weights."""
    neuron, bias = NEURONS[kind]
    keys = jr.split(jr.key(0), 4)
    return GatedNetwork(
        neuron,
        RaisedCosineGate(0.5),
        taus,
        weights=0.2 * jr.normal(keys[0], (2, N, N)),
        input_weights=0.3 * jr.normal(keys[1], (2, N)),
        bias=bias + 0.1 * jr.normal(keys[2], (N,)),
        readout=0.5 * jr.normal(keys[3], (N, 1)),
    )


def running_cost(readout, traces, target):
    """Squared error of the readout with a price on activity."""
    return jnp.sum((readout - target) ** 2) / 2 + 0.05 * jnp.sum(traces**2)


def _errors(kind, dt, difference=1e-7):
    """Relative errors of both gradients, and how many differences were one-sided."""
    t = dt * jnp.arange(float(round(WINDOW / dt)))
    waves = [jnp.cos(2 * jnp.pi * t / 30), jnp.sin(2 * jnp.pi * t / 20)]
    inputs = jnp.stack(waves, axis=-1)[None]
    target = jnp.sin(2 * jnp.pi * (t + dt) / 40)[None, :, None]
    v0 = jnp.linspace(0, 0.45, N)
    model = network(kind)
    flat, restore = ravel_pytree(model)

    def cost(flat):
        solution = solve_gated(restore(flat), inputs, dt, v0=v0, throw=False)
        each = jax.vmap(running_cost)(solution.readout[0], solution.traces[0], target[0])
        return jnp.sum(each) * dt

    @jax.jit
    def central():
        middle = cost(flat)

        def one(shift):
            up, down = cost(flat + shift), cost(flat - shift)
            return (up - down) / 2, up - middle, middle - down

        differences = jax.lax.map(one, difference * jnp.eye(flat.size), batch_size=8)
        return [x / difference for x in differences]

    automatic = np.asarray(jax.jit(jax.grad(cost))(flat))
    _, gradient = jax.jit(
        lambda model: adjoint_gradient(model, inputs, dt, running_cost, target, v0=v0)
    )(model)
    adjoint = np.asarray(ravel_pytree(gradient)[0])
    differences, right, left = (np.asarray(x) for x in central())
    # The discretised cost has a kink where a spike passes the end of a step. Where one lies
    # between the two sides, the difference is taken on the side of the network itself.
    size = np.linalg.norm(differences)
    kinked = np.abs(right - left) > 1e-5 * size
    nearer = np.where(np.abs(right - automatic) < np.abs(left - automatic), right, left)
    checked = np.where(kinked, nearer, differences)
    return (
        float(np.linalg.norm(adjoint - differences) / size),
        float(np.linalg.norm(automatic - checked) / size),
        int(kinked.sum()),
    )


def _charge_error(kind, dt):
    """How far the charge of all full crossings of a trial is from their number."""
    steps = round(80.0 / dt)
    # without decay a trace counts charge
    model = network(kind, taus=(1e18, 1e18))
    solution = jax.jit(lambda m: solve_gated(m, jnp.zeros((steps, 2)), dt))(model)
    begun = model.gate.cumulative(solution.v[-1])
    error = solution.traces[-1] - (solution.num_spikes + begun)
    return float(jnp.max(jnp.abs(error)))
