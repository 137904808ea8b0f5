"""Errors inside compiled code say their text once, and are what they are outside of it."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn import EventSolveError
from roughsnn._host_errors import as_themselves
from roughsnn.spikes.checks import refuse_if


def refuse_negative(x):
    return refuse_if(x, x < 0, "`x` is negative.")


@pytest.mark.parametrize("jit", [jax.jit, eqx.filter_jit])
def test_a_refusal_inside_jit_is_a_value_error_at_the_doors(jit, caplog):
    compiled = as_themselves()(jit(refuse_negative))
    np.testing.assert_array_equal(compiled(jnp.ones(2)), 1)
    with pytest.raises(ValueError, match=r"^`x` is negative\.$") as caught:
        compiled(jnp.array([1.0, -1.0]))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not caplog.records  # JAX would log the callback's traceback
    # elsewhere it is JAX's error, with the text in it once
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError)) as caught:
        jit(refuse_negative)(-jnp.ones(2)).block_until_ready()
    assert str(caught.value).count("`x` is negative.") == 1


def test_a_refusal_under_vmap_and_grad():
    many = as_themselves()(jax.jit(jax.vmap(jax.grad(lambda x: refuse_negative(x) ** 2))))
    np.testing.assert_allclose(many(jnp.array([1.0, 2.0])), [2.0, 4.0])
    with pytest.raises(ValueError, match="`x` is negative"):
        many(jnp.array([1.0, -2.0]))


def test_errors_of_others_are_left_alone(caplog):
    def fails(x):
        raise KeyError("mine")

    @as_themselves()
    @jax.jit
    def compiled(x):
        return jax.pure_callback(fails, jax.ShapeDtypeStruct((), x.dtype), x)

    with pytest.raises(jax.errors.JaxRuntimeError, match="mine"):
        compiled(jnp.ones(())).block_until_ready()
    assert caplog.records


def test_a_script_ends_with_the_error_itself():
    """Of a callback that raises, JAX shows some forty lines with the text three times."""
    script = (
        "import jax, numpy as np, roughsnn as rs\n"
        "def fails(x): raise rs.EventSolveError('It failed.')\n"
        "shape = jax.ShapeDtypeStruct((), 'float32')\n"
        "jax.jit(lambda x: jax.pure_callback(fails, shape, x))(1.0).block_until_ready()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert lines[-1] == f"{EventSolveError.__module__}.EventSolveError: It failed."
    assert done.stderr.count("It failed.") == 1
    assert len(lines) <= 6
