"""Numbers from outside this code, each with its source.

Closed forms are noted as such; they can be recomputed by hand.
"""

# --- Signatures of the Marcus lift, one neuron, window [0, 1], channels (t, N) ---------------
#
# Source: closed form. The lift of one spike at tau = 0.3 runs (0, 0) -> (0.3, 0) -> (0.3, 1)
# -> (1, 1), so S = exp(0.3 e_t) (x) exp(e_N) (x) exp(0.7 e_t) by Chen's identity.
# Words in lexicographic order with t before N.
SIGNATURE_SPIKE_AT_0_3 = (
    (1.0, 1.0),
    (0.5, 0.3, 0.7, 0.5),
    (1 / 6, 0.045, 0.21, 0.15, 0.245, 0.0, 0.35, 1 / 6),
)

# Inner products of these signatures (level 0 included) for A = {0.3}, B = {0.6}, D = no spike,
# up to level 3 and up to level 8. Source: closed form, summed independently of this package.
KERNEL_UP_TO_LEVEL_3 = {
    "AA": 4.3867055556,
    "AB": 4.2086555556,
    "BB": 4.3019555556,
    "DD": 2.2777777778,
    "AD": 2.2777777778,
}
KERNEL_UP_TO_LEVEL_8 = {
    "AA": 4.4502454407,
    "AB": 4.2565510284,
    "BB": 4.3599371486,
    "DD": 2.2795853023,
    "AD": 2.2795853023,
}

# --- Deterministic stochastic-firing LIF neuron ----------------------------------------------
#
# sigma = 0, i = 0, v_0 = 0, mu1 = 15, lambda(v) = exp(5 (v - 1)), c = 1.5, u = 0.5 at every
# spike, s_0 = log u - 0.03, v_reset = 1.4. Source: 200-point Gauss-Legendre quadrature of the
# intensity and the recursion for the tangents, computed independently of this package; the
# second spike's derivative was confirmed by central differences to 8 digits. "_dot" is the
# derivative with respect to c, "tangent_*" the tangents right after the first spike at frozen
# time.
DETERMINISTIC_LIF = {
    "tau_1": 0.2132179973,
    "tau_1_dot": -0.3587340556,
    "v_left_1": 1.4387508220,
    "tangent_v_1": 8.4925823820,
    "tangent_s_1": 0.0029339083,
    "tau_2": 0.4246925458,
    "tau_2_dot": -0.7449924,
}
