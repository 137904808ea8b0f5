"""Faults of one kind: derivatives that do not exist, and training that meets them."""

import warnings

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

import roughsnn as rs

from . import Fault, refusal


def _ball(conditions="refuse", speeds=(1.0, 1.01, 1.02)):
    """Balls thrown up under a ceiling at height 1; the first one only touches it."""
    sde = rs.EventSDE(
        lambda t, y, args: jnp.stack([y[1], jnp.full((), -0.5)]),
        lambda t, y, args: y[:1] - 1,
        lambda t, y, k, u, args: y - jnp.eye(2)[0],
    )

    def simulate(speeds, key):
        def one(speed):
            y0 = jnp.stack([jnp.zeros(()), speed])
            return rs.eventsolve(
                sde, 0.0, 3.0, 0.25, y0, key=key, max_events=4, solver=dfx.Heun(),
                stop_after=1, conditions=conditions,
            )  # fmt: skip

        return jax.vmap(one)(speeds)

    return jnp.array(speeds), simulate


def _loss_of_touches(solution, _):
    return jnp.mean((solution.event_times[:, 0] - 1.5) ** 2)


def _one_sample_grazes() -> tuple[str, bool]:
    """In a batch: `fit` leaves it out and counts it, and all others learn."""
    speeds, simulate = _ball()
    result = rs.fit(
        speeds, None, simulate=simulate, loss=_loss_of_touches, optimiser=optax.sgd(1e-4),
        num_steps=3, key=jax.random.key(0), progress=False,
    )  # fmt: skip
    moved = np.asarray(result.model != speeds)
    found = f"{result.status.name}, left out {result.history['left_out']}, moved {moved}"
    right = result.status.name == "COMPLETED" and moved.tolist() == [False, True, True]
    return found, right and np.allclose(result.history["left_out"], 1 / 3)


def _policies() -> tuple[str, bool]:
    """What is asked for directly is refused with sensible figures, left out, or clipped."""

    def gradient(conditions):
        speeds, simulate = _ball(conditions)

        def objective(speeds):
            solution = simulate(speeds, jax.random.key(0))
            return _loss_of_touches(solution, None), solution.grazing

        return jax.jit(jax.grad(objective, has_aux=True))(speeds)

    text, right = refusal(
        lambda: jax.block_until_ready(gradient("refuse")),
        "transversality",
        'conditions="leave-out"',
    )
    right = right and "e+3" not in text
    found = [text]
    for conditions in ("leave-out", "clip"):
        slopes, grazing = (np.asarray(x) for x in gradient(conditions))
        found.append(f"{conditions}: {slopes}, grazing {grazing}")
        finite = bool(np.all(np.isfinite(slopes)))
        right = right and finite and bool(grazing[0] == 1 and slopes[0] == 0)
        right = right and bool(np.all(slopes[1:] < 0))
    return "; ".join(found), right


def _endings() -> tuple[str, bool]:
    """Every ending of `fit` hands back the last good model."""
    neuron = rs.LIF(1, mu1=20.0, mu2=10.0)

    def simulate(current, key):
        return rs.simulate(
            neuron, 0.0, 0.2, 0.01, key=key, num_samples=1, max_spikes=4, input_current=current,
            solver=dfx.Heun(),
        )  # fmt: skip

    def fit(callback=None, **settings):
        settings = dict(optimiser=optax.sgd(0.5), num_steps=200) | settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return rs.fit(
                jnp.asarray(1.5), None, simulate=simulate, key=jax.random.key(0), progress=False,
                loss=lambda trains, _: jnp.sum(jnp.where(trains.mask, trains.times, 0)),
                callback=callback, **settings,
            )  # fmt: skip

    def fails(step, model, history):
        raise OSError(28, "No space left on device")

    explodes, breaks = fit(), fit(fails, optimiser=optax.sgd(1e-4))
    nan = fit(optimiser=optax.sgd(lambda n: jnp.where(jnp.asarray(n) < 2, 0.1, jnp.nan)))
    results = {"explodes": explodes, "full disk": breaks, "NaN": nan}
    found = [f"{n}: {r.status.name} after {r.num_steps} steps" for n, r in results.items()]
    right = all(np.isfinite(r.model) and 0 < r.num_steps < 200 for r in results.values())
    return "; ".join(found), right and "max_spikes" in explodes.message


def _after_the_last_event() -> tuple[str, bool]:
    """With `stop_after=1` nothing after the first transition is used: a reset to a value and noise
    that depends on the state are no reason to refuse."""
    with jax.enable_x64(True):
        found, right = [], True
        for name, noise in (("reset to a value", 0.3), ("noise depends on the state", None)):
            sde = rs.EventSDE(
                lambda t, y, args: jnp.stack([args - y[0], jnp.exp(y[0])]),
                lambda t, y, args: y[1:] - 0.5,
                lambda t, y, k, u, args: jnp.zeros(2),
                lambda t, y, args, noise=noise: jnp.stack(
                    [jnp.reshape(0.2 * jnp.cos(y[1]) if noise is None else noise, 1), jnp.zeros(1)]
                ),
                noise=(1,),
            )

            def time(c, stop_after=1, sde=sde):
                return rs.eventsolve(
                    sde, 0.0, 2.0, 0.05, jnp.zeros(2), key=jax.random.key(0), max_events=60,
                    args=c, stop_after=stop_after, solver=dfx.Heun(),
                ).event_times[stop_after - 1]  # fmt: skip

            c, h = jnp.asarray(1.0), 1e-5
            slope, first = jax.jit(jax.grad(time))(c), jax.jit(time)
            error = abs(float(slope / ((first(c + h) - first(c - h)) / (2 * h)) - 1))
            text, refused = refusal(
                lambda time=time, c=c: jax.block_until_ready(jax.grad(time)(c, 2)), "commutes"
            )
            found.append(f"{name}: relative error {error:.1e}; two events {text[:8]}")
            # curvature h^2, rounding 1e-16 / h
            right = right and error < 1e-8 and refused
    return "; ".join(found), right


def _optimisers() -> tuple[str, bool]:
    neuron = rs.LIF(1, mu1=20.0, mu2=10.0)

    def simulate(current, key):
        return rs.simulate(
            neuron, 0.0, 0.2, 0.01, key=key, num_samples=1, max_spikes=4, input_current=current,
            solver=dfx.Heun(), stop_after=1,
        )  # fmt: skip

    found, right = [], True
    for name, optimiser in {
        "reduce_on_plateau": optax.chain(optax.adam(0.02), optax.contrib.reduce_on_plateau()),
        "lbfgs": optax.lbfgs(),
        "MultiSteps": optax.MultiSteps(optax.adam(0.02), 2),
    }.items():
        result = rs.fit(
            jnp.asarray(1.3), None, simulate=simulate, optimiser=optimiser, num_steps=6,
            loss=lambda trains, _: (trains.times[0, 0] - 0.06) ** 2, key=jax.random.key(0),
            progress=False,
        )  # fmt: skip
        loss = result.history["loss"]
        found.append(f"{name}: {loss[0]:.2e} to {loss[-1]:.2e}")
        right = right and result.status.name == "COMPLETED" and loss[-1] < loss[0]
    text, refused = refusal(
        lambda: rs.fit(
            jnp.asarray(1.3), None, simulate=simulate, optimiser="adam", num_steps=1,
            loss=lambda trains, _: trains.times[0, 0], key=jax.random.key(0),
        ),
        "`optimiser`", "optax",
    )  # fmt: skip
    return "; ".join([*found, text]), right and refused


FAULTS: list[Fault] = [
    Fault(6, "training ends in a crash where one sample grazes", _one_sample_grazes),
    Fault(6, "policies for a sample without a derivative", _policies),
    Fault(6, "the model trained so far is gone", _endings),
    Fault(7, "a transition whose outcome is not used is judged", _after_the_last_event),
    Fault(16, "optimisers that need the value", _optimisers),
]
