import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import roughsnn as rs
from roughsnn.io.whole_file import whole_file

from .disks import no_space, read_only, small_disk


class Model(eqx.Module):
    weight: jax.Array
    key: jax.Array
    half: jax.Array
    gain: float = 2.0
    name: str = "model"


def model(value=1.0):
    return Model(jnp.full(3, value), jr.key(7), jnp.ones(2, jnp.bfloat16))


def kept(folder, steps=(10, 20)):
    checkpoints = rs.Checkpoints(folder, every=10)
    with checkpoints.open():
        for step in steps:
            checkpoints.save(
                step, model(float(step)), arrays={"x": np.arange(step)}, notes={"a": 1}
            )
    return checkpoints


def test_a_state_comes_back_bit_for_bit(tmp_path):
    found = kept(tmp_path).restore(model())
    assert found.step == 20
    assert found.notes == {"a": 1}
    np.testing.assert_array_equal(found.arrays["x"], np.arange(20))
    expected = model(20.0)
    for a, b in zip(jax.tree.leaves(found.tree), jax.tree.leaves(expected), strict=True):
        if eqx.is_array(a):
            assert a.dtype == b.dtype
            values = (jr.key_data(x) if x.dtype == jr.key(0).dtype else x for x in (a, b))
            np.testing.assert_array_equal(*values)
        else:
            assert a == b
    assert bool(eqx.tree_equal(found.tree, expected))


def test_only_the_newest_are_kept_and_there_may_be_none(tmp_path):
    names = [p.name for p in kept(tmp_path, (5, 10, 15, 100)).paths()]
    assert names == ["step-00000015.ckpt", "step-00000100.ckpt"]
    assert rs.Checkpoints(tmp_path / "none").restore(model()) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", *names]


def test_an_earlier_fit_is_never_written_over(tmp_path):
    kept(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with (
        pytest.raises(rs.CheckpointError, match=r"holds checkpoints .* `resume=True`"),
        rs.Checkpoints(tmp_path).open(),
    ):
        pass
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_two_processes_do_not_share_a_folder(tmp_path):
    pytest.importorskip("fcntl")
    one = rs.Checkpoints(tmp_path, resume=True)
    with (
        one.open(),
        pytest.raises(rs.CheckpointError, match="in use by another process"),
        rs.Checkpoints(tmp_path, resume=True).open(),
    ):
        pass
    with one.open():  # the lock ended with its holder
        pass


# --- damage


@pytest.mark.parametrize("where", [30, 120, -1, -300])
def test_a_flipped_bit_is_found(tmp_path, where):
    checkpoints = kept(tmp_path)
    path = checkpoints.paths()[-1]
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    message = r"step-00000020.ckpt is damaged.*Move .* away to go on from .*step-00000010.ckpt"
    with pytest.raises(rs.CheckpointError, match=message):
        checkpoints.restore(model())
    path.rename(tmp_path / "damaged")
    assert checkpoints.restore(model()).step == 10


@pytest.mark.parametrize("left", [0, 1, 10, 21, 22, 60, 87, 88, 400, -1])
def test_a_truncated_checkpoint_is_found(tmp_path, left):
    checkpoints = kept(tmp_path, (20,))
    path = checkpoints.paths()[-1]
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(rs.CheckpointError, match=r"is damaged|is no checkpoint|has version"):
        checkpoints.restore(model())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04\x95 a pickle", "is no checkpoint of roughsnn"),
        (b"PK\x03\x04 an archive", "is no checkpoint of roughsnn"),
        (b"roughsnn checkpoint 9 abc\n{}\n", "has version 9 of the format"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path, content, message):
    checkpoints = kept(tmp_path, (20,))
    checkpoints.paths()[-1].write_bytes(content)
    with pytest.raises(rs.CheckpointError, match=message):
        checkpoints.restore(model())


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path):
    checkpoints = kept(tmp_path)
    larger = eqx.tree_at(lambda m: m.weight, model(), jnp.ones(4))
    message = r"\.weight has shape \(3,\) and dtype float64 there and has shape \(4,\)"
    with pytest.raises(rs.CheckpointError, match=message):
        checkpoints.restore(larger)
    fewer = eqx.tree_at(lambda m: m.half, model(), None)
    with pytest.raises(rs.CheckpointError, match=r"\.half has .* and is missing here"):
        checkpoints.restore(fewer)
    with pytest.raises(rs.CheckpointError, match="another computation, with another key"):
        checkpoints.restore(model(), identity={"key": "other"})


# --- disks


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        if disk is None:
            pytest.skip("needs the right to mount a file system")
        checkpoints = kept(disk)
        before = {p.name: p.read_bytes() for p in disk.iterdir()}
        message = "cannot be written: No space left on device.*step-00000020.ckpt is untouched"
        with pytest.raises(rs.CheckpointError, match=message):
            checkpoints.save(30, {"large": jnp.zeros(20_000)})
        assert {p.name: p.read_bytes() for p in disk.iterdir()} == before
        assert checkpoints.restore(model()).step == 20


def test_an_error_while_writing_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    checkpoints = kept(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(rs.CheckpointError, match=r"No space left.*is untouched"):
        checkpoints.save(20, model(0.0))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_folders_that_cannot_be_written_to(tmp_path):
    for folder in (tmp_path, tmp_path / "new"):
        with (
            read_only(tmp_path),
            pytest.raises(rs.CheckpointError, match=r"cannot be written to .*Permission denied"),
            rs.Checkpoints(folder).open(),
        ):
            pass
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(rs.CheckpointError, match=r"Not a directory|File exists"),
        rs.Checkpoints(tmp_path / "file" / "new").open(),
    ):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_vanishes(tmp_path):
    checkpoints = rs.Checkpoints(tmp_path / "gone")
    with pytest.raises(rs.CheckpointError, match=r"No such file or directory\. Make room or mend"):
        checkpoints.save(1, model())


def test_a_whole_file_is_written_or_nothing(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as file:
        file.write(b"one")
    with contextlib.suppress(RuntimeError), whole_file(path) as file:
        file.write(b"two")
        raise RuntimeError
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("changes", [{"every": 0}, {"keep": 0}, {"every": 2.5}, {"keep": True}])
def test_bad_settings(tmp_path, changes):
    with pytest.raises((ValueError, TypeError), match=next(iter(changes))):
        rs.Checkpoints(tmp_path, **changes)


def test_killed_while_it_writes_the_newest_checkpoint_is_whole(tmp_path):
    """A process that does nothing but write megabytes is killed again and again."""
    program = (
        "import sys, jax.numpy as jnp, roughsnn as rs\n"
        "checkpoints = rs.Checkpoints(sys.argv[1], resume=True)\n"
        "with checkpoints.open():\n"
        "    found = checkpoints.restore(jnp.zeros(300_000))\n"
        "    step = 0 if found is None else found.step\n"
        "    while True:\n"
        "        step += 1\n"
        "        checkpoints.save(step, jnp.full(300_000, float(step)))\n"
        "        print(step, flush=True)\n"
    )
    folder, rng, reported = tmp_path / "kept", np.random.default_rng(0), 0
    folder.mkdir()
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": str(_ROOT)},
        )  # fmt: skip
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        lines = process.communicate()[0].split()
        reported = int(lines[-1]) if lines else reported
        found = rs.Checkpoints(folder).restore(jnp.zeros(300_000))
        assert found.step >= reported
        assert np.all(found.tree == found.step)
        reported = found.step


_ROOT = Path(__file__).parents[2]


# --- fits


def draw(m, key):
    times = jnp.cumsum(m * (0.5 + 0.5 * jr.exponential(key, (16, 2))), axis=1)
    inside = times < 20.0
    return rs.SpikeTrains(
        jnp.where(inside, times, jnp.inf), jnp.where(inside, 0, -1), 0.0, 20.0, num_neurons=1
    )


DATA = draw(jnp.asarray(1.0), jr.key(1))
SETTINGS = dict(
    simulate=draw, loss=rs.FirstSpikesLoss(2), optimiser=optax.adam(0.05), batch_size=5,
    num_steps=30, key=jr.key(0), log_every=5, progress=False,
    metrics={"mean": lambda m, generated, holdout: m},
)  # fmt: skip


def fit(**changes):
    return rs.fit(jnp.asarray(2.0), DATA, **(SETTINGS | changes))


@pytest.fixture(scope="module")
def uninterrupted():
    return fit()


def same(result, expected):
    assert result.num_steps == expected.num_steps
    assert bool(eqx.tree_equal(result.model, expected.model))
    assert bool(eqx.tree_equal(result.optimiser_state, expected.optimiser_state))
    for name, values in expected.history.items():
        assert result.history[name].tobytes() == values.tobytes()


def stops_at(*steps):
    def callback(step, m, history):
        if step in steps:
            raise KeyboardInterrupt

    return callback


def test_a_resumed_fit_ends_with_the_same_bits(tmp_path, uninterrupted):
    checkpoint = rs.Checkpoints(tmp_path, every=10, resume=True)
    first = fit(checkpoint=checkpoint, callback=stops_at(15))
    assert first.interrupted
    assert f"15 of 30 steps, kept in {tmp_path}; go on with `resume=True`" in first.message
    assert [p.name for p in checkpoint.paths()] == ["step-00000010.ckpt", "step-00000015.ckpt"]
    # as if it had been killed after step 10
    checkpoint.paths()[-1].unlink()
    result = fit(checkpoint=checkpoint)
    same(result, uninterrupted)
    same(fit(checkpoint=checkpoint), uninterrupted)  # all is done: it is read
    more = fit(checkpoint=checkpoint, num_steps=40)
    assert more.history["loss"][:30].tobytes() == uninterrupted.history["loss"].tobytes()
    assert more.num_steps == 40
    with pytest.raises(rs.CheckpointError, match=r"a fit of 40 steps and `num_steps` is 30"):
        fit(checkpoint=checkpoint)


def test_what_a_fit_was_begun_with_must_be_the_same(tmp_path):
    checkpoint = rs.Checkpoints(tmp_path, resume=True)
    fit(checkpoint=checkpoint, num_steps=5)
    for changes, name in (
        ({"key": jr.key(1)}, "key"),
        ({"holdout": DATA}, "holdout"),
        ({"batch_size": 4}, "batch_size"),
        ({"metrics": {}}, "metrics"),
    ):
        with pytest.raises(rs.CheckpointError, match=f"with another {name}"):
            fit(checkpoint=checkpoint, **changes)
    with pytest.raises(rs.CheckpointError, match="another model or optimiser"):
        fit(checkpoint=checkpoint, optimiser=optax.sgd(0.1, momentum=0.9))
    with pytest.raises(TypeError, match="checkpoint"):
        fit(checkpoint=str(tmp_path))


def test_an_ending_is_kept(tmp_path):
    checkpoint = rs.Checkpoints(tmp_path, resume=True)
    stop = rs.EarlyStop(target=1.9, monitor="mean")
    first = fit(checkpoint=checkpoint, early_stop=stop)
    again = fit(checkpoint=checkpoint, early_stop=stop)
    assert first.num_steps < 30
    assert again.message == first.message
    same(again, first)


def test_many_fits_go_on_together(tmp_path):
    keys = jr.split(jr.key(3), 2)
    data = rs.SpikeTrains.stack([DATA, DATA])
    settings = {k: v for k, v in SETTINGS.items() if k != "key"} | {"num_steps": 10}
    checkpoint = rs.Checkpoints(tmp_path, every=5, resume=True)
    start = jnp.full(2, 2.0)
    whole = rs.fit_many(start, data, **settings, keys=keys)
    rs.fit_many(start, data, **(settings | {"num_steps": 5}), keys=keys, checkpoint=checkpoint)
    for result, expected in zip(
        rs.fit_many(start, data, **settings, keys=keys, checkpoint=checkpoint), whole, strict=True
    ):
        same(result, expected)


def test_a_disk_that_fills_up_during_a_fit(tmp_path, monkeypatch):
    checkpoint = rs.Checkpoints(tmp_path, every=5, resume=True)
    fit(checkpoint=checkpoint, num_steps=5)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.warns(RuntimeWarning, match="No space left on device"):
            result = fit(checkpoint=checkpoint)
    # the model is there all the same
    assert result.status is rs.FitStatus.FAILED
    assert isinstance(result.error, rs.CheckpointError)
    assert result.num_steps == 10
    assert [p.name for p in checkpoint.paths()] == ["step-00000005.ckpt"]
