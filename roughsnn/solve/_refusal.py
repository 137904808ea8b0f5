"""Values that can be used, but not differentiated."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array


def refuse_derivatives(message: str) -> Callable[[Any], Any]:
    """The identity on trees of arrays, which raises a `NotImplementedError` that says `message`
    where it is differentiated."""

    @jax.custom_jvp
    def same(tree):
        return tree

    @same.defjvp
    def _(primals, tangents):
        raise NotImplementedError(message)

    return same


def refused_where_used(
    derivatives: Sequence[Array],
    refused: Array,
    told: Sequence[Array],
    complain: Callable[..., None],
    *,
    forward: bool = True,
) -> list[Array]:
    """The derivatives as they are; where one of a sample is asked for that is `refused`, the host
    is told at run time.

    The function is linear in the derivatives and its own transpose, so that what asks is a
    derivative other than zero of the sample in forward mode, and a cotangent other than zero in
    reverse mode: a sample that somebody downstream leaves out is not refused.

    Args:
        derivatives: tangents of the outputs of one sample.
        refused: whether they may not be used, a scalar (under `jax.vmap`, one for each sample).
        told: scalars that `complain` needs.
        complain: called on the host with which samples are refused and asked for, and with `told`,
            as NumPy arrays of the shape of the batch; it has to raise.
        forward: whether it does so in forward mode, too, where nobody can tell who uses a tangent;
            else tangents that are refused are NaN there.
    """
    return _refused_p.bind(
        *derivatives, refused, *told, num_derivatives=len(derivatives), complain=complain,
        forward=forward,
    )  # fmt: skip


def _refused(*args, num_derivatives, complain, forward):
    derivatives, (refused, *told) = args[:num_derivatives], args[num_derivatives:]
    if not forward:
        of = [refused.reshape(refused.shape + (1,) * (x.ndim - refused.ndim)) for x in derivatives]
        return [x * jnp.where(y, jnp.nan, 1).astype(x.dtype)
                for x, y in zip(derivatives, of, strict=True)]  # fmt: skip
    asked = jnp.zeros(refused.shape, bool)
    for x in derivatives:
        asked = asked | jnp.any(x != 0, axis=tuple(range(refused.ndim, x.ndim)))
    wrong = refused & asked
    ones = jnp.ones(refused.shape, jnp.float32)

    def on_host(wrong, *told):
        complain(*(np.asarray(x) for x in (wrong, *told)))
        return np.ones(wrong.shape, np.float32)

    # a factor of one that only the host can give, so that whoever uses a derivative has to ask it
    factor = lax.cond(
        jnp.any(wrong),
        lambda told: jax.pure_callback(on_host, ones, *told),
        lambda told: ones,
        (wrong, *told),
    )
    return [x * factor.reshape(factor.shape + (1,) * (x.ndim - factor.ndim)).astype(x.dtype)
            for x in derivatives]  # fmt: skip


def _on_its_own(*args, **params):
    run = partial(_refused, **params)
    return jax.jit(run)(*args)


# XLA has no such operation: the primitive is there for its own rules of batching and transposition
_refused_p = Primitive("refused_where_used")
_refused_p.multiple_results = True
_refused_p.def_impl(_on_its_own)


@_refused_p.def_abstract_eval
def _(*avals, num_derivatives, **_params):
    return list(avals[:num_derivatives])


mlir.register_lowering(_refused_p, mlir.lower_fun(_refused, multiple_results=True))


def _batch(args, dims, **params):
    size = next(x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
    moved = [
        jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(args, dims, strict=True)
    ]
    out = _refused_p.bind(*moved, **params)
    return out, [0] * len(out)


batching.primitive_batchers[_refused_p] = _batch


def _jvp(primals, tangents, **params):
    num_derivatives = params["num_derivatives"]
    moved = [ad.instantiate_zeros(t) for t in tangents[:num_derivatives]]
    rest = primals[num_derivatives:]
    return _refused_p.bind(*primals, **params), _refused_p.bind(*moved, *rest, **params)


ad.primitive_jvps[_refused_p] = _jvp


def _transpose(cotangents, *args, num_derivatives, complain, forward):
    rest = args[num_derivatives:]
    moved = [ad.instantiate_zeros(ct) for ct in cotangents]
    out = _refused_p.bind(
        *moved, *rest, num_derivatives=num_derivatives, complain=complain, forward=True
    )
    return [*out, *(None for _ in rest)]


ad.primitive_transposes[_refused_p] = _transpose
