import re
import sys
import threading
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import optax.contrib
import pytest

from roughsnn.losses import FirstSpikesLoss
from roughsnn.runs import Checkpoints
from roughsnn.spikes import SpikeTrains
from roughsnn.training import (
    EarlyStop,
    FitStatus,
    TrainingError,
    TrainStep,
    fit,
    fit_many,
)

T1 = 20.0
SAMPLES = 32
MAE = FirstSpikesLoss(3, error="absolute", missing="horizon")


class Renewal(eqx.Module):
    """A neuron with independent intervals `mean * (1/2 + Exp(1)/2)`; the window is long."""

    mean: jax.Array
    unused: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(7.0))
    name: str = "renewal"


def simulate(model: Renewal, key) -> SpikeTrains:
    mean = model.mean.astype(float)
    intervals = mean * (0.5 + 0.5 * jr.exponential(key, (SAMPLES, 3)))
    times = jnp.cumsum(intervals, axis=1)
    inside = times < T1
    return SpikeTrains(
        jnp.where(inside, times, jnp.inf),
        jnp.where(inside, 0, -1),
        0.0,
        T1,
        num_neurons=1,
    )


def start(mean=2.0) -> Renewal:
    return Renewal(jnp.asarray(mean))


def only_mean(model):
    return model.mean


# Shared so that runs that differ in nothing compiled compile once.
OPTIMISER = optax.adam(5e-2)
LOSS = FirstSpikesLoss(3)
SETTINGS = {
    "simulate": simulate,
    "loss": LOSS,
    "optimiser": OPTIMISER,
    "trainable": only_mean,
    "num_steps": 25,
    "key": jr.key(0),
    "progress": False,
}


@pytest.fixture(scope="module")
def data() -> SpikeTrains:
    return simulate(start(1.0), jr.key(10))


def test_recovers_the_parameter(data):
    result = fit(start(), data, **{**SETTINGS, "num_steps": 150})
    # Matching the mean times of 32 trains: standard error 0.06; the run itself adds 0.03.
    assert abs(float(result.model.mean) - 1.0) < 0.25
    assert result.status is FitStatus.COMPLETED
    assert result.message == "All steps were taken."
    assert not result.interrupted
    assert result.num_steps == 150
    assert set(result.history) == {"loss", "gradient_norm", "overflowed", "left_out", "clipped"}
    assert all(values.shape == (150,) for values in result.history.values())
    assert result.history["loss"][-20:].mean() < 0.1 * result.history["loss"][0]
    assert result.model.unused == 7.0
    assert result.model.name == "renewal"
    assert "150 steps in" in result.summary()
    assert "loss" in str(result)


def test_history_is_that_of_the_steps_taken_one_by_one(data):
    """The compiled loop against the same step called from Python."""
    result = fit(
        start(),
        data,
        **{**SETTINGS, "num_steps": 5},
        metrics={"zeta": lambda m, g, h: m.mean, "mae": lambda m, g, h: MAE(g, h)},
        holdout=data,
    )
    step = TrainStep(simulate, LOSS, OPTIMISER, only_mean)
    state = step.init(start())
    compiled = eqx.filter_jit(step)
    for index in range(5):
        np.testing.assert_allclose(result.history["zeta"][index], state.model.mean, rtol=1e-12)
        state, record = compiled(state, data, jr.key(0))
        for column, name in enumerate(("loss", "gradient_norm", "overflowed")):
            np.testing.assert_allclose(
                result.history[name][index], record.values[column], rtol=1e-12
            )
    np.testing.assert_allclose(result.model.mean, state.model.mean, rtol=1e-12)
    assert np.all(result.history["mae"] > 0)
    assert int(state.step) == 5


def test_first_gradient_is_that_of_the_loss(data):
    result = fit(start(), data, **{**SETTINGS, "num_steps": 1})
    noise_key = jr.fold_in(jr.split(jr.key(0))[0], 0)
    loss, gradient = jax.value_and_grad(
        lambda mean: LOSS(simulate(Renewal(mean), noise_key), data)
    )(jnp.asarray(2.0))
    np.testing.assert_allclose(result.history["loss"], [loss], rtol=1e-12)
    np.testing.assert_allclose(result.history["gradient_norm"], [abs(gradient)], rtol=1e-12)


@pytest.mark.parametrize("log_every", [1, 7, 100])
def test_log_every_changes_nothing(data, log_every):
    expected = fit(start(), data, **SETTINGS)
    result = fit(start(), data, **SETTINGS, log_every=log_every)
    for name, values in expected.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-12)


def test_noise_is_fresh_and_follows_the_key(data):
    frozen = {**SETTINGS, "optimiser": optax.sgd(0.0), "num_steps": 4}
    losses = fit(start(), data, **frozen).history["loss"]
    assert np.unique(losses).size == 4
    other = fit(start(), data, **{**frozen, "key": jr.key(1)}).history["loss"]
    assert not np.any(losses == other)


def test_compiles_once(data):
    calls = []

    def counted(model, key):
        calls.append(1)
        return simulate(model, key)

    settings = {**SETTINGS, "simulate": counted}
    fit(start(), data, **settings, log_every=4)
    first = len(calls)
    assert first <= 2
    fit(start(1.5), data, **{**settings, "num_steps": 6, "key": jr.key(3)}, log_every=4)
    assert len(calls) == first


def test_zero_steps(data):
    result = fit(start(), data, **{**SETTINGS, "num_steps": 0})
    assert result.num_steps == 0
    assert result.model.mean == 2.0
    assert result.history["loss"].shape == (0,)
    assert "0 steps" in result.summary()


def test_all_arrays_are_trained_by_default(data):
    def both(model, key):
        return simulate(Renewal(model.mean + 0.1 * model.unused), key)

    settings = {**SETTINGS, "simulate": both, "trainable": None, "num_steps": 3}
    result = fit(start(), data, **settings)
    assert result.model.mean != 2.0
    assert result.model.unused != 7.0


def test_float32(data):
    lower = SpikeTrains.from_lists(data.to_lists(), t0=0.0, t1=T1, dtype=jnp.float32)

    def single(model, key):
        trains = simulate(model, key)
        return SpikeTrains(trains.times.astype(jnp.float32), trains.neurons, 0.0, T1, num_neurons=1)

    model = Renewal(jnp.asarray(2.0, dtype=jnp.float32))
    result = fit(model, lower, **{**SETTINGS, "simulate": single, "num_steps": 3})
    assert result.model.mean.dtype == jnp.float32
    assert np.all(np.isfinite(result.history["loss"]))


# --- how a run ends


def test_early_stop_at_a_target(data):
    stop = EarlyStop(target=0.5, window=3)
    result = fit(start(), data, **{**SETTINGS, "num_steps": 200}, early_stop=stop)
    assert result.status is FitStatus.EARLY_STOP
    assert result.num_steps < 200
    assert result.num_steps % 10 == 0
    assert result.history["loss"][-3:].mean() <= 0.5
    assert "at or below the target 0.5" in result.message


def test_early_stop_on_a_metric_by_patience(data):
    settings = {**SETTINGS, "optimiser": optax.sgd(0.0), "num_steps": 200}
    stop = EarlyStop(patience=20, monitor="mean")
    result = fit(
        start(), data, **settings, metrics={"mean": lambda m, g, h: m.mean}, early_stop=stop
    )
    assert result.num_steps == 30
    assert "has not fallen for 20 steps (best 2)" in result.message


def test_callback_sees_the_run_and_ends_it(data):
    seen = []

    def callback(step, model, history):
        seen.append((step, float(model.mean), history["loss"].size))
        return step >= 20

    result = fit(start(), data, **{**SETTINGS, "num_steps": 50}, callback=callback)
    assert [step for step, _, _ in seen] == [10, 20]
    assert [size for _, _, size in seen] == [10, 20]
    assert result.status is FitStatus.STOPPED_BY_CALLBACK
    assert result.num_steps == 20
    assert seen[-1][1] == float(result.model.mean)


def fails_below(limit):
    """Training brings the mean down; below the limit the gradient is NaN, the loss is not."""

    @jax.custom_jvp
    def identity(x):
        return x

    @identity.defjvp
    def _(primals, tangents):
        (x,), (dx,) = primals, tangents
        return x, jnp.where(x < limit, jnp.nan, 1.0) * dx

    return lambda model, key: simulate(Renewal(identity(model.mean)), key)


@pytest.mark.parametrize("log_every", [1, 10])
def test_non_finite_gradient_keeps_the_last_finite_model(data, log_every):
    settings = {**SETTINGS, "simulate": fails_below(1.8), "num_steps": 60}
    with pytest.warns(RuntimeWarning, match=r"the gradient of \.mean was not finite"):
        result = fit(start(), data, **settings, log_every=log_every)
    assert result.status is FitStatus.NON_FINITE
    # Adam moves by about its rate of 0.05: five steps down, and the next one fails.
    assert 4 <= result.num_steps <= 6
    assert f"stopped in step {result.num_steps}:" in result.message
    assert "the updated value" not in result.message
    assert 1.5 < float(result.model.mean) < 1.8
    assert np.all(np.isfinite(result.history["loss"]))
    assert result.history["loss"].shape == (result.num_steps,)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(result.optimiser_state))


def test_non_finite_loss_and_update(data):
    def bad_loss(generated, observed):
        return LOSS(generated, observed) + jnp.inf

    with pytest.warns(RuntimeWarning, match="stopped in step 0: the loss was not finite"):
        result = fit(start(), data, **{**SETTINGS, "loss": bad_loss})
    assert result.num_steps == 0
    assert result.model.mean == 2.0
    settings = {**SETTINGS, "optimiser": optax.sgd(jnp.inf)}
    with pytest.warns(RuntimeWarning, match=r"step 0: the updated value of \.mean"):
        fit(start(), data, **settings)


def test_interrupt_returns_what_was_reached(data):
    def callback(step, model, history):
        if step == 20:
            raise KeyboardInterrupt

    result = fit(start(), data, **{**SETTINGS, "num_steps": 50}, callback=callback)
    assert result.interrupted
    assert result.num_steps == 20
    assert result.message == "Training was interrupted: after 20 of 50 steps."
    assert result.history["loss"].shape == (20,)
    # It is the model that 20 steps give.
    whole = fit(start(), data, **{**SETTINGS, "num_steps": 20})
    np.testing.assert_allclose(result.model.mean, whole.model.mean, rtol=1e-12)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal sent to the own process")
def test_interrupt_by_signal(data):
    import os
    import signal

    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    latest = time.monotonic() + 120

    def callback(step, model, history):
        if step == 1000:
            timer.start()
        return time.monotonic() > latest

    # a process that was started in the background ignores the signal, and so would its children
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        settings = {**SETTINGS, "num_steps": 1_000_000, "log_every": 1000}
        result = fit(start(), data, **settings, callback=callback)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
    assert result.interrupted
    assert 1000 <= result.num_steps < 1_000_000


def explodes_below(limit):
    def explosive(model, key):
        return eqx.error_if(simulate(model, key), model.mean < limit, "too small")

    return explosive


@pytest.mark.parametrize("log_every", [1, 10])
def test_an_error_in_a_step_keeps_the_model_before_it(data, log_every):
    settings = {**SETTINGS, "simulate": explodes_below(1.7)}
    with pytest.warns(RuntimeWarning, match="An error ended training"):
        result = fit(start(), data, **settings, log_every=log_every)
    assert result.status is FitStatus.FAILED
    # Adam moves by about its rate of 0.05: six steps down are good
    assert 5 <= result.num_steps <= 7
    assert result.history["loss"].shape == (result.num_steps,)
    whole = fit(start(), data, **{**SETTINGS, "num_steps": result.num_steps})
    np.testing.assert_allclose(result.model.mean, whole.model.mean, rtol=1e-12)
    # once, and no way through the code of others
    assert result.message.count("too small") == 1
    assert f"after {result.num_steps} of 25 steps" in result.message
    assert "Traceback" not in result.message
    with pytest.raises(TrainingError, match="too small") as caught:
        result.raise_unless_trained()
    assert caught.value.__cause__ is result.error


def test_an_error_in_the_first_step_is_raised(data):
    with pytest.raises(eqx.EquinoxRuntimeError, match="too small") as caught:
        fit(start(), data, **{**SETTINGS, "simulate": explodes_below(3.0)})
    assert any("step 0 of training" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("error", [ValueError("no such column"), OSError(28, "No space left")])
def test_an_error_of_the_callback_keeps_the_model(data, error):
    def callback(step, model, history):
        if step == 20:
            raise error

    with pytest.warns(RuntimeWarning, match="An error ended training"):
        result = fit(start(), data, **{**SETTINGS, "num_steps": 50}, callback=callback)
    assert (result.status, result.num_steps, result.error) == (FitStatus.FAILED, 20, error)
    assert type(error).__name__ in result.message


def test_an_interrupt_inside_compiled_code_is_one(data):
    def simulated(model, key):
        def host(mean):
            if mean < 1.7:
                raise KeyboardInterrupt
            return mean

        mean = jax.pure_callback(host, jnp.zeros(()), jax.lax.stop_gradient(model.mean))
        return simulate(Renewal(model.mean + 0 * mean), key)

    result = fit(start(), data, **{**SETTINGS, "simulate": simulated})
    assert result.interrupted
    # the first step is a call of its own; what the interrupted call had done is gone
    assert result.num_steps == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal sent to the own process")
def test_sigterm_returns_what_was_reached(data):
    import os
    import signal

    def callback(step, model, history):
        if step == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        result = fit(start(), data, **{**SETTINGS, "num_steps": 50}, callback=callback)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.interrupted
    assert result.num_steps == 20


# --- what may happen between steps


def test_the_model_may_change_between_steps(data, tmp_path):
    """An annealed parameter that is not trained, and one that the generated trains decide."""

    def change(step, model, generated, key):
        woken = jnp.where(jnp.any(generated.counts == 0), 1.0, model.mean)
        return Renewal(woken, 7.0 * 0.9 ** step.astype(float))

    settings = {**SETTINGS, "between_steps": change, "num_steps": 6}
    whole = fit(start(), data, **settings, metrics={"unused": lambda m, g, h: m.unused})
    np.testing.assert_allclose(whole.history["unused"], 7 * 0.9 ** np.arange(6), rtol=1e-12)
    np.testing.assert_allclose(whole.model.unused, 7 * 0.9**6, rtol=1e-12)
    # a run that is resumed is the same run
    kept = Checkpoints(tmp_path, resume=True)
    fit(start(), data, **{**settings, "num_steps": 4}, checkpoint=kept)
    resumed = fit(start(), data, **settings, checkpoint=kept)
    assert (resumed.model.mean, resumed.model.unused) == (whole.model.mean, whole.model.unused)


def test_what_happens_between_steps_is_checked(data):
    def other(step, model, generated, key):
        return Renewal(model.mean.astype(jnp.float32), model.unused)

    with pytest.raises(TypeError, match=r"`between_steps`.*float64\[\] at \.mean and .*float32"):
        fit(start(), data, **SETTINGS, between_steps=other)

    def breaks(step, model, generated, key):
        return Renewal(jnp.where(step == 3, jnp.nan, model.mean))

    # what is returned is finite
    with pytest.warns(RuntimeWarning, match=r"step 2: the updated value of \.mean"):
        result = fit(start(), data, **SETTINGS, between_steps=breaks)
    assert (result.num_steps, bool(jnp.isfinite(result.model.mean))) == (2, True)


# --- optimisers


@pytest.mark.parametrize(
    "optimiser",
    [
        optax.chain(optax.adam(5e-2), optax.contrib.reduce_on_plateau(patience=3)),
        optax.lbfgs(),
        optax.MultiSteps(optax.adam(5e-2), 2),
        optax.polyak_sgd(max_learning_rate=0.1),
    ],
    ids=["reduce_on_plateau", "lbfgs", "MultiSteps", "polyak_sgd"],
)
def test_optimisers_that_need_more_than_a_gradient(data, optimiser):
    result = fit(start(), data, **{**SETTINGS, "optimiser": optimiser, "num_steps": 8})
    assert result.status is FitStatus.COMPLETED
    assert result.history["loss"][-1] < result.history["loss"][0]


# --- samples without a derivative


def test_samples_without_a_derivative_are_left_out_and_counted(data):
    """As if their spike times did not depend on the model, but still in the loss."""
    flags = jnp.arange(SAMPLES, dtype=jnp.int32) % 8
    out = flags == 1

    def grazing(model, key):
        trains = simulate(model, key)
        return eqx.tree_at(lambda x: x.grazing, trains, jnp.where(flags <= 2, flags, 0))

    def held(model, key):
        trains = simulate(model, key)
        times = jnp.where(out[:, None], jax.lax.stop_gradient(trains.times), trains.times)
        return eqx.tree_at(lambda x: x.times, trains, times)

    settings = {**SETTINGS, "num_steps": 3}
    with pytest.warns(RuntimeWarning, match="was left out"):
        result = fit(start(), data, **{**settings, "simulate": grazing})
    expected = fit(start(), data, **{**settings, "simulate": held})
    whole = fit(start(), data, **settings)
    for name in ("loss", "gradient_norm"):
        np.testing.assert_allclose(result.history[name], expected.history[name], rtol=1e-12)
    assert abs(result.model.mean - whole.model.mean) > 1e-6
    np.testing.assert_array_equal(result.history["left_out"], 1 / 8)
    np.testing.assert_array_equal(result.history["clipped"], 1 / 8)
    assert "0.12 of the samples was left out" in result.message
    with pytest.warns(RuntimeWarning, match="was clipped"):
        refused = fit(start(), data, **{**settings, "simulate": grazing}, conditions="refuse")
    np.testing.assert_allclose(refused.model.mean, whole.model.mean, rtol=1e-12)


# --- overflow


def test_overflow_is_recorded_and_reported(data):
    def overflowing(model, key):
        trains = simulate(model, key)
        flags = jnp.arange(SAMPLES) < SAMPLES // 4
        return eqx.tree_at(lambda x: x.overflowed, trains, flags)

    with pytest.warns(
        RuntimeWarning, match="100% of the steps some of the generated trains, up to 25%, had more"
    ):
        result = fit(start(), data, **{**SETTINGS, "simulate": overflowing, "num_steps": 2})
    np.testing.assert_array_equal(result.history["overflowed"], 0.25)


# --- mini-batches


def test_minibatches_reach_the_loss(data):
    sizes = []

    def loss(generated, observed):
        sizes.append(len(observed))
        return LOSS(generated, observed)

    fit(start(), data, **{**SETTINGS, "loss": loss}, batch_size=5)
    assert set(sizes) == {5}


# --- several seeds


def test_fit_many_equals_fit_seed_by_seed():
    keys = jr.split(jr.key(5), 3)
    samples = [simulate(start(1.0 + 0.2 * i), jr.key(i)) for i in range(3)]
    data = SpikeTrains.stack(samples)
    models = eqx.filter_vmap(lambda key: start())(keys)
    metrics = {"mae": lambda m, g, h: MAE(g, h)}
    settings = {name: SETTINGS[name] for name in SETTINGS if name != "key"}
    settings |= {"num_steps": 12, "metrics": metrics}
    seen = []

    def callback(step, models, history):
        seen.append((step, models.mean.shape, history["mae"].shape))

    results = fit_many(
        models, data, **settings, keys=keys, holdout=data, callback=callback, log_every=5
    )
    assert len(results) == 3
    assert seen == [(5, (3,), (3, 5)), (10, (3,), (3, 10)), (12, (3,), (3, 12))]
    for seed, result in enumerate(results):
        alone = fit(start(), samples[seed], **settings, key=keys[seed], holdout=samples[seed])
        assert result.status is FitStatus.COMPLETED
        assert result.num_steps == 12
        np.testing.assert_allclose(result.model.mean, alone.model.mean, rtol=1e-9)
        for name, values in alone.history.items():
            np.testing.assert_allclose(result.history[name], values, rtol=1e-9)


def test_fit_many_a_seed_stops_alone(data):
    keys = jr.split(jr.key(5), 2)
    both = SpikeTrains.stack([data, data])
    models = Renewal(jnp.array([2.0, 4.0]), jnp.array([7.0, 7.0]))
    settings = {name: SETTINGS[name] for name in SETTINGS if name != "key"}
    settings |= {"simulate": fails_below(1.8), "batch_size": 8}
    with pytest.warns(RuntimeWarning, match="Training of seed 0 stopped in step"):
        failed, fine = fit_many(models, both, **settings, keys=keys)
    assert failed.status is FitStatus.NON_FINITE
    assert failed.num_steps < 10
    assert failed.history["loss"].shape == (failed.num_steps,)
    assert fine.status is FitStatus.COMPLETED
    assert fine.history["loss"].shape == (25,)
    assert np.all(np.isfinite(fine.history["loss"]))


def test_fit_many_stops_each_seed_early(data, tmp_path):
    """Where `fit` stops it alone, also if the run is cut off right when one seed has stopped."""
    keys, settings = jr.split(jr.key(5), 2), {**SETTINGS, "num_steps": 200}
    del settings["key"]
    settings["early_stop"] = EarlyStop(target=0.5, window=3)
    both, means = SpikeTrains.stack([data, data]), (2.0, 1.3)
    models = Renewal(jnp.array(means), jnp.array([7.0, 7.0]))
    alone = [fit(start(m), data, **settings, key=k) for m, k in zip(means, keys, strict=True)]
    late, early = (result.num_steps for result in alone)
    assert 0 < early < late < 200

    def interrupt(step, model, history):
        if step == early:
            raise KeyboardInterrupt

    kept = Checkpoints(tmp_path, every=1000, resume=True)
    cut_off = fit_many(models, both, **settings, keys=keys, checkpoint=kept, callback=interrupt)
    assert [result.num_steps for result in cut_off] == [early, early]
    for result, lone in zip(
        fit_many(models, both, **settings, keys=keys, checkpoint=kept), alone, strict=True
    ):
        assert result.status is FitStatus.EARLY_STOP
        assert result.message == lone.message
        assert result.num_steps == lone.num_steps
        np.testing.assert_allclose(result.model.mean, lone.model.mean, rtol=1e-9)
        np.testing.assert_allclose(result.history["loss"], lone.history["loss"], rtol=1e-9)


def test_step_maps_over_seeds_by_hand(data):
    keys = jr.split(jr.key(5), 2)
    both = SpikeTrains.stack([data, data])
    step = TrainStep(simulate, LOSS, OPTIMISER, only_mean)
    state = eqx.filter_vmap(step.init)(eqx.filter_vmap(lambda key: start())(keys))
    axes = (eqx.if_array(0), both.vmap_axes, 0)
    state, record = eqx.filter_jit(eqx.filter_vmap(step, in_axes=axes))(state, both, keys)
    assert record.values.shape == (2, 5)
    assert state.model.mean.shape == (2,)
    assert not record.failed.any()


# --- progress


def test_progress_is_written(data, capfd):
    fit(start(), data, **{**SETTINGS, "progress": True})
    written = capfd.readouterr().err
    assert "25/25" in written
    assert "loss" in written


def test_progress_without_tqdm(data, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fit(start(), data, **{**SETTINGS, "progress": True})
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1  # in less than five seconds
    assert re.fullmatch(r"step 25/25  loss \S+  \S+ steps/s  0:00 left", lines[-1])


# --- errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": -1}, "`num_steps` must be an integer of at least 0, got -1"),
        ({"log_every": 0}, "`log_every` must be an integer of at least 1, got 0"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1, got 0"),
        ({"batch_size": SAMPLES + 1}, f"number of samples in `data`, {SAMPLES}"),
        ({"early_stop": EarlyStop(target=0.0, monitor="x")}, "`early_stop` watches 'x'"),
        ({"metrics": {"loss": lambda m, g, h: 0.0}}, "`metrics` has ['loss']"),
        ({"metrics": {"a": lambda m, g, h: jnp.ones(2)}}, "`metrics['a']` returned an array"),
        ({"loss": lambda g, o: jnp.ones(2)}, "`loss` returned an array of shape (2,)"),
        ({"trainable": lambda model: ()}, "`trainable` selects no floating-point array"),
    ],
)
def test_bad_settings(data, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        fit(start(), data, **{**SETTINGS, **changes})


def test_bad_models_and_data(data):
    with pytest.raises(ValueError, match=r"`model` has a value at \.mean that is not finite"):
        fit(start(np.nan), data, **SETTINGS)
    with pytest.raises(ValueError, match=r"`data` has batch shape \(\)"):
        fit(start(), data[0], **SETTINGS)
    with pytest.raises(ValueError, match=r"`data` has batch shape \(0,\)"):
        fit(start(), data[:0], **SETTINGS)
    with pytest.raises(TypeError, match="data"):
        fit(start(), data.times, **SETTINGS)
    for name in ("simulate", "loss", "optimiser"):
        with pytest.raises(TypeError, match=name):
            fit(start(), data, **{**SETTINGS, name: 3})
    with pytest.raises(ValueError, match="windows of different lengths"):
        fit(start(), data.window(0.0, 19.0), **SETTINGS)


def test_bad_seeds(data):
    keys = jr.split(jr.key(0), 2)
    both = SpikeTrains.stack([data, data])
    models = eqx.filter_vmap(lambda key: start())(keys)
    settings = {name: SETTINGS[name] for name in SETTINGS if name != "key"}
    with pytest.raises(ValueError, match=r"`models\.mean` has shape \(\); its first axis"):
        fit_many(start(), both, **settings, keys=keys)
    with pytest.raises(ValueError, match=r"`data` has batch shape \(32,\)"):
        fit_many(models, data, **settings, keys=keys)
    with pytest.raises(ValueError, match=r"`data` has batch shape \(3, 32\); its first axis"):
        fit_many(models, SpikeTrains.stack([data] * 3), **settings, keys=keys)
    with pytest.raises(ValueError, match=r"`holdout` has batch shape \(32,\)"):
        fit_many(models, both, **settings, keys=keys, holdout=data)
    with pytest.raises(ValueError, match=r"`keys` has shape \(0,\)"):
        fit_many(models, both, **settings, keys=keys[:0])
    with pytest.raises(ValueError, match="number of samples of a seed, 32"):
        fit_many(models, both, **settings, keys=keys, batch_size=33)
