"""The search for events: random smooth event functions, and networks beside an event loop."""

import heapq
import itertools
import math
from functools import partial

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs

from ._study import Study, format_table

# the shortest period of a random event function, in steps: shorter ones are not smooth in a step
PERIOD = 4.0
CELLS, WAVES = 6, 4
# networks: neurons, inputs, spikes of the input, window and step, in units of the leak
NEURONS, INPUTS, INPUT_SPIKES = 4, 3, 12
WINDOW, STEP, ROOM = 6.0, 0.1, 160
MU1, MU2 = 1.0, 2.0


def study(functions: int = 300_000, networks: int = 400, seed: int = 0) -> Study:
    """Look for events whose first zeros are known.

    Args:
        functions: random smooth event functions, of each precision and kind; a third of them
            reach zero.
        networks: random networks of noise-free LIF neurons, of each precision and kind.
        seed: of everything random.
    """
    rows, figures = [], {}
    for name, dtype in (("float32", jnp.float32), ("float64", jnp.float64)):
        with jax.enable_x64(dtype == jnp.float64):
            for kind, make in (("waves", _waves), ("ends of steps", _parabolas)):
                wrong, missed, total = _functions(make, functions, dtype, seed)
                rows.append((f"functions, {kind}", name, total, wrong, missed))
                key = f"{kind.split()[0]}_{name}"
                figures |= {f"wrong_{key}": wrong, f"missed_share_{key}": missed / max(total, 1)}
            for kind in ("inputs", "currents", "delays"):
                wrong, missed, total = _networks(kind, networks, dtype, seed)
                rows.append((f"networks, {kind}", name, total, wrong, missed))
                figures |= {f"wrong_{kind}_{name}": wrong, f"missed_{kind}_{name}": missed}
    with jax.enable_x64(True):
        for exponent, share in _grazes(seed):
            rows.append((f"grazes by 1e{exponent}", "float64", 200, 0, f"{share:.3f}"))
            figures[f"missed_share_graze_1e{exponent}"] = share
    bounds = {name: "<= 0" for name in figures if name.startswith("wrong")}
    counts = (n for n in figures if n.startswith("missed_") and "share" not in n)
    bounds |= dict.fromkeys(counts, "<= 0")
    bounds |= {name: "<= 0.001" for name in figures if name.startswith("missed_share_waves")}
    bounds |= {name: "<= 0" for name in figures if name.startswith("missed_share_ends")}
    bounds |= {f"missed_share_graze_1e{n}": "<= 0" for n in range(-11, 0)}
    header = ("what", "precision", "events", "at a wrong zero", "missed")
    return Study(figures, bounds, format_table(header, rows))


# --- event functions of time alone


def _waves(rng, count):
    """Sums of sines whose shortest period is `PERIOD` steps of length 1."""
    frequency = 2 * np.pi / PERIOD * rng.uniform(0.05, 1.0, (count, WAVES))
    phase = rng.uniform(0, 2 * np.pi, (count, WAVES))
    size = rng.normal(size=(count, WAVES)) / np.sqrt(WAVES)
    level = rng.uniform(0.0, 1.5, (count, 1))
    return dict(frequency=frequency, phase=phase, size=size, level=level[:, 0])


def _wave(t, p, sin):
    return (p["size"] * sin(p["frequency"] * t[..., None] + p["phase"])).sum(-1) - p["level"]


def _parabolas(rng, count):
    """Humps -(t - a)(t - b) whose second zero, or first, lies within rounding of the end of a step,
    as slow waves."""
    a = rng.integers(1, CELLS - 1, count) + rng.uniform(0.05, 0.95, count)
    end = np.floor(a) + 1
    b = end + rng.choice([-1, 1], count) * 10.0 ** rng.uniform(-9, -4, count)
    swap = rng.uniform(size=count) < 0.5
    # the first zero at the end of a step, and the second one in the middle of the next
    first = np.where(swap, b, a)
    second = np.where(swap, end + rng.uniform(0.2, 1.8, count), b)
    return dict(first=first, second=second)


def _parabola(t, p, sin):
    return -(t - p["first"]) * (t - p["second"])


def _functions(make, count, dtype, seed):
    """How many events are at a wrong zero, how many are missed, and how many there are."""
    rng = np.random.default_rng(seed)
    value = _wave if make is _waves else _parabola
    parameters = {k: np.asarray(v, dtype) for k, v in make(rng, count).items()}
    begin = np.zeros(count) if make is _parabolas else rng.uniform(0, 10, count)
    parameters["begin"] = begin.astype(dtype)
    exact = {k: v.astype(np.float64) for k, v in parameters.items()}
    found = _solve_functions(value, parameters, dtype)
    first, height, slope = _first_zeros(value, exact)

    eps = float(np.finfo(dtype).eps)
    # what rounding makes of a value, and of the place of a zero
    small = 400 * eps
    near = 4 * small / np.maximum(slope, np.sqrt(small))
    below = _at(value, exact, np.zeros(count)) < -1e-3
    known = below & (first < CELLS - 1e-3) & (height > small)
    fired = np.isfinite(found)
    place = np.where(fired, found, 0)
    right = known & fired & (np.abs(place - np.where(known, first, 0)) <= near)
    # a hump that rounding may take below zero may be found, or not
    touch = below & fired & ~known & (np.abs(_at(value, exact, place)) <= small)
    late = known & ~right & (~fired | (place > first))
    # an event in a later step is one of its own: what was missed is the first one
    same_step = late & fired & (np.floor(place) == np.floor(first))
    missed = late & ~same_step
    wrong = below & fired & ~right & ~touch & ~missed
    return int(wrong.sum()), int(missed.sum()), int(known.sum())


def _at(value, p, t):
    return value(t + p["begin"], p, np.sin)


def _solve_functions(value, parameters, dtype):
    """The first event of each function, by the solver."""
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.zeros_like(y),
        event_fn=lambda t, y, p: value(t + p["begin"], p, jnp.sin)[None],
        crossings=True,
    )

    def one(p):
        return rs.eventsolve(
            sde, 0.0, float(CELLS), 1.0, jnp.zeros(1, dtype), key=jax.random.key(0), max_events=1,
            stop_after=1, args=p, solver=dfx.Heun(), adjoint=rs.NoGradient(), throw=False,
        ).event_times[0]  # fmt: skip

    args = {k: jnp.asarray(v) for k, v in parameters.items()}
    return np.asarray(jax.jit(jax.vmap(one))(args), np.float64)


def _first_zeros(value, p, fine: int = 96, at_once: int = 2000):
    """The first zero reached from below (`inf` for none), how high the function rises after it
    before it falls again, and its slope there; looked for on a fine grid."""
    count = p["begin"].shape[0]
    out = np.empty((3, count))
    for begin in range(0, count, at_once):
        part = {k: v[begin : begin + at_once, None] for k, v in p.items()}
        out[:, begin : begin + at_once] = _first_zeros_of(value, part, fine)
    return out


def _first_zeros_of(value, p, fine):
    xs = np.linspace(0, CELLS, CELLS * fine + 1)
    step = xs[1]
    grid = _at(value, p, np.broadcast_to(xs, (p["begin"].shape[0], xs.size)))
    before, here, after = grid[:, :-2], grid[:, 1:-1], grid[:, 2:]
    # a hump between two points: the vertex of the parabola through three of them
    bend = before - 2 * here + after
    safe = np.where(bend < 0, bend, -1.0)
    shift = -0.5 * (after - before) / safe
    vertex = here - (after - before) ** 2 / (8 * safe)
    hump = (bend < 0) & (before < 0) & (here < 0) & (after < 0) & (vertex >= 0)
    hump &= (here >= before) & (here >= after)
    rises = (grid[:, :-1] < 0) & (grid[:, 1:] >= 0)
    rows = np.arange(grid.shape[0])
    j = np.where(rises.any(1), rises.argmax(1), xs.size)
    k = np.where(hump.any(1), hump.argmax(1), xs.size)
    is_hump = k < j
    none = (j == xs.size) & (k == xs.size)
    j, k = np.minimum(j, xs.size - 2), np.minimum(k, xs.size - 3)
    lo = np.where(is_hump, xs[k], xs[j])
    hi = np.where(is_hump, xs[k + 1] + step * shift[rows, k], xs[j + 1])
    for _ in range(60):
        middle = 0.5 * (lo + hi)
        up = _at(value, p, middle[:, None])[:, 0] >= 0
        lo, hi = np.where(up, lo, middle), np.where(up, middle, hi)
    first = np.where(none, np.inf, hi)
    # the highest value until it is below zero again
    after_first = xs[None] > first[:, None]
    falls = after_first & (grid < 0)
    end = np.where(falls.any(1), falls.argmax(1), xs.size)
    inside = after_first & (np.arange(xs.size)[None] < end[:, None])
    height = np.max(np.where(inside, grid, 0), axis=1)
    height = np.maximum(height, np.where(is_hump, vertex[rows, k], 0))
    at, d = np.where(none, 0, first)[:, None], 1e-6
    slope = (_at(value, p, at + d) - _at(value, p, at - d))[:, 0] / (2 * d)
    return np.stack([first, height, np.maximum(slope, 0)])


# --- networks beside an event loop in closed form


def _draw(kind, rng):
    """The parameters of one network."""
    return dict(
        weights=rng.normal(0.0, 1.0, (NEURONS, NEURONS)) * (1 - np.eye(NEURONS)),
        delays=rng.uniform(0.15, 0.9, NEURONS) if kind == "delays" else np.zeros(NEURONS),
        into=rng.normal(1.5, 2.0, (INPUTS, NEURONS)),
        times=np.sort(rng.uniform(0, 0.8 * WINDOW, INPUT_SPIKES)),
        rows=rng.integers(0, INPUTS, INPUT_SPIKES),
        current=rng.uniform(0.2, 1.4, NEURONS) if kind == "currents" else np.full(NEURONS, 0.3),
    )


def _networks(kind, count, dtype, seed):
    """Spikes of random networks that differ from those of an event loop."""
    rng = np.random.default_rng([seed, len(kind)])
    drawn = [_draw(kind, rng) for _ in range(count)]
    stacked = {k: np.stack([d[k] for d in drawn]) for k in drawn[0]}
    # what is drawn is what single precision can hold
    stacked = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in stacked.items()}
    args = {
        k: jnp.asarray(v, dtype if v.dtype.kind == "f" else jnp.int32) for k, v in stacked.items()
    }
    times, neurons = jax.jit(jax.vmap(partial(_run_network, kind)))(args)
    times, neurons = np.asarray(times, np.float64), np.asarray(neurons)
    tolerance = 3e-6 if dtype == jnp.float64 else 3e-3
    wrong = missed = total = 0
    for number in range(count):
        p = {k: v[number].astype(np.float64) if v.dtype.kind == "f" else v[number]
             for k, v in stacked.items()}  # fmt: skip
        events, margins = _event_loop(p)
        mine = [(t, k) for t, k in zip(times[number], neurons[number], strict=True) if k >= 0]
        total += len(events)
        for place, (t, k, speed) in enumerate(events):
            # an error of the potential moves a slow spike further
            allowed = tolerance / min(speed, 1)
            # where a potential comes this near to the threshold, rounding decides what follows
            if _closest(margins, t + 0.05) < (1e-7 if dtype == jnp.float64 else 2e-4):
                break
            if place >= len(mine):
                missed += 1
                break
            t_mine, k_mine = mine[place]
            if k_mine != k or abs(t_mine - t) > allowed:
                late = t_mine > t + allowed
                missed, wrong = missed + late, wrong + (not late)
                break
    return wrong, missed, total


def _closest(margins, t):
    return min((m for at, m in margins if at <= t), default=math.inf)


def _run_network(kind, p):
    neurons = rs.LIF(NEURONS, mu1=MU1, mu2=MU2)
    delays = p["delays"] if kind == "delays" else None
    network = rs.SpikingNetwork(
        neurons, p["weights"], axonal_delays=delays, input_weights=p["into"], max_pending=64,
        conditions="ignore",
    )  # fmt: skip
    inputs = rs.SpikeTrains(p["times"], p["rows"], 0.0, WINDOW, num_neurons=INPUTS)
    trains = rs.simulate(
        network, 0.0, WINDOW, STEP, key=jax.random.key(0), num_samples=1, max_spikes=ROOM,
        input_spikes=inputs, input_current=p["current"], solver=dfx.Tsit5(), throw=False,
    )  # fmt: skip
    return trains.times[0], trains.neurons[0]


def _event_loop(p, most: int = ROOM):
    """Spikes (time, neuron, speed) of noise-free LIF neurons, from event to event in closed form;
    and how near potentials came to the threshold without a spike or at a slow one."""
    v, i, now = np.zeros(NEURONS), np.zeros(NEURONS), 0.0
    c = p["current"]
    queue = [(float(t), n, "input", int(r))
             for n, (t, r) in enumerate(zip(p["times"], p["rows"], strict=True))]  # fmt: skip
    heapq.heapify(queue)
    events, margins, number = [], [], len(queue)
    while len(events) < most:
        upto = min(queue[0][0] if queue else WINDOW, WINDOW)
        crossings = [_crossing(v[k], i[k], c[k], upto - now) for k in range(NEURONS)]
        k = int(np.argmin([x[0] for x in crossings]))
        length = min(crossings[k][0], upto - now)
        margins += [(now + at, margin) for at, margin in (x[1:] for x in crossings) if at <= length]
        v, i = _after(v, i, c, length)
        now += length
        if crossings[k][0] <= length and now < WINDOW:
            events.append((now, k, MU1 * (i[k] + c[k] - 1)))
            margins.append((now, (MU1 * (i[k] + c[k] - 1)) ** 2))
            v[k] = 0.0
            if p["delays"][k] > 0:
                heapq.heappush(queue, (now + float(p["delays"][k]), number, "spike", k))
                number += 1
            else:
                i = i + p["weights"][k]
            continue
        if now >= WINDOW or not queue:
            return events, margins
        _, _, what, source = heapq.heappop(queue)
        i = i + (p["into"] if what == "input" else p["weights"])[source]
    return events, margins


def _after(v, i, c, t):
    e1, e2 = np.exp(-MU1 * t), np.exp(-MU2 * t)
    return c + (v - c) * e1 + MU1 * i * (e2 - e1) / (MU1 - MU2), i * e2


def _crossing(v, i, c, length):
    """When a potential first reaches 1 from below (`inf` if not within the length); and when it
    comes nearest to that without reaching it, and how near."""
    rate = MU1 - MU2
    a, b = -(v - c) + MU1 * i / rate, i * MU2 / rate
    turn = math.log(a / b) / rate if a * b > 0 else math.inf
    ends = [0.0, *([turn] if 0 < turn < length else []), length]
    nearest, at = math.inf, 0.0
    for lo, hi in itertools.pairwise(ends):
        f_lo, f_hi = (_after(v, i, c, x)[0] - 1 for x in (lo, hi))
        if f_lo < 0 <= f_hi:
            for _ in range(80):
                middle = 0.5 * (lo + hi)
                up = _after(v, i, c, middle)[0] >= 1
                lo, hi = (lo, middle) if up else (middle, hi)
            return hi, at, nearest
        if abs(f_hi) < nearest and hi < length:
            nearest, at = abs(f_hi), hi
    return math.inf, at, nearest


# --- grazes of one neuron


def _grazes(seed, count: int = 200):
    """For humps of heights 1e-1 to 1e-12 above the threshold: the share that is missed."""
    rng = np.random.default_rng(seed)
    neuron = rs.LIF(1, mu1=MU1, mu2=MU2)

    def one(weight, start):
        network = rs.SpikingNetwork(
            neuron, jnp.zeros((1, 1)), input_weights=weight[None, None], conditions="ignore"
        )
        inputs = rs.SpikeTrains(start[None], jnp.zeros(1, jnp.int32), 0.0, 4.0, num_neurons=1)
        trains = rs.simulate(
            network, 0.0, 4.0, STEP, key=jax.random.key(0), num_samples=1, max_spikes=8,
            input_spikes=inputs, solver=dfx.Dopri8(), throw=False, adjoint=rs.NoGradient(),
        )  # fmt: skip
        return trains.times[0, 0]

    run = jax.jit(jax.vmap(one))
    starts = jnp.asarray(rng.uniform(0.0, 1.0, count))
    for exponent in range(-1, -13, -1):
        # from rest, v = w (exp(-t) - exp(-2 t)), at most w / 4
        weight = jnp.full(count, 4 * (1 + 10.0**exponent))
        found = np.asarray(run(weight, starts))
        yield exponent, float(np.mean(~np.isfinite(found)))
