"""Explicit Runge--Kutta methods with their stages written out.

diffrax runs over the stages in a rolled loop of many small kernels, which for one neuron costs
some ten times the arithmetic in it. Written out, a step is a few fused kernels, and batches of it
can be differentiated in either mode.
"""

import diffrax as dfx
import jax
import jax.numpy as jnp


class _WrittenOut(dfx.AbstractWrappedSolver):
    """What both kinds share; nothing is kept between steps."""

    solver: dfx.AbstractSolver

    @property
    def term_structure(self):
        return self.solver.term_structure

    @property
    def term_compatible_contr_kwargs(self):
        return self.solver.term_compatible_contr_kwargs

    @property
    def interpolation_cls(self):
        return self.solver.interpolation_cls

    @property
    def minimal_levy_area(self):
        return getattr(self.solver, "minimal_levy_area", dfx.AbstractBrownianIncrement)

    def order(self, terms):
        return self.solver.order(terms)

    def strong_order(self, terms):
        return self.solver.strong_order(terms)

    def error_order(self, terms):
        return self.solver.error_order(terms)

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)

    def init(self, terms, t0, t1, y0, args):
        return None


class WrittenOutRK(_WrittenOut):
    r"""The same step as `solver`, an explicit Runge--Kutta method, with its estimate of the error:
    $k_j = h f(t + c_j h, y + \sum_{i<j} a_{ji} k_i)$, $y' = y + \sum_j b_j k_j$, and for the error
    $\sum_j \beta_j k_j$.
    """

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        tableau = self.solver.tableau  # pyright: ignore[reportAttributeAccessIssue]
        control, h, ks = terms.contr(t0, t1), t1 - t0, []
        for j in range(tableau.num_stages):
            row = tableau.a_lower[j - 1] if j else []
            t = t0 + float(tableau.c[j - 1]) * h if j else t0
            ks.append(terms.vf_prod(t, _moved(y0, *zip(row, ks, strict=True)), args, control))
        end = _moved(y0, *zip(tableau.b_sol, ks, strict=True))
        nothing = jax.tree.map(jnp.zeros_like, y0)
        error = _moved(nothing, *zip(tableau.b_error, ks, strict=True))
        return end, error, dict(y0=y0, y1=end), None, dfx.RESULTS.successful


class WrittenOutSRK(_WrittenOut):
    r"""The same step as `solver`, a stochastic Runge--Kutta method for additive noise.

    $$
    \begin{aligned}
    z_j &= y + h \sum_{i<j} a_{ji} f(t + c_i h, z_i) + g_0 (a^W_j W + a^H_j H), \\
    y' &= y + h \sum_j b_j f(t + c_j h, z_j) + g_0 (b^W W + b^H H)
        + (g_1 - g_0) (\tfrac12 W - H),
    \end{aligned}
    $$

    with $g_0$ and $g_1$ the diffusion at both ends of the step (Foster, dos Reis & Strange 2024).
    No error is estimated.
    """

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        tableau = self.solver.tableau  # pyright: ignore[reportAttributeAccessIssue]
        drift, diffusion = terms.terms
        h = t1 - t0
        driver = diffusion.contr(t0, t1, use_levy=True)
        g0, g1 = diffusion.vf(t0, y0, args), diffusion.vf(t1, y0, args)
        noise, odd = [(tableau.coeffs_w, diffusion.prod(g0, driver.W))], driver.W
        if tableau.coeffs_hh is not None:
            noise.append((tableau.coeffs_hh, diffusion.prod(g0, driver.H)))
            odd = jax.tree.map(lambda w, area: w - 2 * area, odd, driver.H)
        slopes = []
        for j in range(len(tableau.b_sol)):
            row = tableau.a[j - 1] if j else []
            z = _moved(y0, *zip(row, slopes, strict=True), *((c.a[j], x) for c, x in noise))
            t = t0 + float(tableau.c[j - 1]) * h if j else t0
            slopes.append(drift.vf_prod(t, z, args, h))
        end = _moved(
            y0, *zip(tableau.b_sol, slopes, strict=True), *((c.b_sol, x) for c, x in noise)
        )
        change = diffusion.prod(g1, odd), diffusion.prod(g0, odd)
        end = _moved(end, (0.5, change[0]), (-0.5, change[1]))
        return end, None, dict(y0=y0, y1=end), None, dfx.RESULTS.successful


def _moved(y, *steps):
    """y plus the steps times their coefficients, leaving out those of coefficient zero."""
    steps = [(float(c), dy) for c, dy in steps if float(c) != 0]

    def leaf(y, *dys):
        return sum((c * dy for (c, _), dy in zip(steps, dys, strict=True)), jnp.asarray(y))

    return jax.tree.map(leaf, y, *(dy for _, dy in steps))


def written_out(solver: dfx.AbstractSolver) -> dfx.AbstractSolver:
    """The solver with its stages written out, if it is one for which that is done here."""
    tableau = getattr(solver, "tableau", None)
    if isinstance(solver, dfx.AbstractERK) and isinstance(tableau, dfx.ButcherTableau):
        return WrittenOutRK(solver)
    # some stochastic methods leave out a stage, or use space-time-time Levy areas
    if (
        isinstance(solver, dfx.AbstractSRK)
        and solver.tableau.is_additive_noise()
        and solver.tableau.coeffs_kk is None
        and solver.tableau.ignore_stage_f is None
    ):
        return WrittenOutSRK(solver)
    return solver
