"""One side of the study of surrogate-gradient steps, in an interpreter that has the other code.

`python _spiking_codes_worker.py snntorch|spyx CORES` reads where the networks lie as one line of
JSON, and then names of networks, one a line. Each it answers with the wall-clock and CPU seconds of
one training step and the spikes of hidden neurons and outputs in it. It imports nothing of this
project.
"""

import json
import os
import sys
import time

import numpy as np

SLOPE, RATE = 10.0, 1e-6


def main():
    """Answer questions until there are none."""
    code, cores = sys.argv[1], json.loads(sys.argv[2])
    if cores:
        os.sched_setaffinity(0, cores)
    out = sys.stdout
    sys.stdout = sys.stderr
    loaded = np.load(json.loads(sys.stdin.readline()))
    make, version = {"snntorch": _snntorch, "spyx": _spyx}[code]()
    print(json.dumps({"version": version}), file=out, flush=True)
    steps = {}
    for line in sys.stdin:
        name = json.loads(line)
        if name not in steps:
            prefix = f"{name}:"
            steps[name] = make({
                key.removeprefix(prefix): loaded[key] for key in loaded.files
                if key.startswith(prefix)
            })  # fmt: skip
        wall, cpu = time.perf_counter(), time.process_time()
        spikes = steps[name]()
        answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        print(json.dumps(answer | {"spikes": spikes}), file=out, flush=True)


def _snntorch():
    import snntorch as snn  # pyright: ignore[reportMissingImports]
    import snntorch.functional as of_spikes  # pyright: ignore[reportMissingImports]
    import torch  # pyright: ignore[reportMissingImports]
    from snntorch import surrogate  # pyright: ignore[reportMissingImports]

    def linear(weights):
        layer = torch.nn.Linear(*weights.shape, bias=False)
        layer.weight.data = torch.tensor(weights.T.copy())
        return layer

    def make(data):
        settings = dict(
            alpha=float(data["alpha"]), beta=float(data["beta"]),
            spike_grad=surrogate.fast_sigmoid(SLOPE),
        )  # fmt: skip
        first, last = linear(data["into_hidden"]), linear(data["into_outputs"])
        modules, recurrent = [first, last], "between" in data
        if recurrent:
            hidden = snn.RSynaptic(linear_features=first.out_features, **settings)
            hidden.recurrent.weight.data = torch.tensor(data["between"].T.copy())
            hidden.recurrent.bias = None
            modules.append(hidden)
        else:
            hidden = snn.Synaptic(**settings)
        output = snn.Synaptic(**settings)
        # (a parameter of two modules counts once)
        trained = dict.fromkeys(p for module in modules for p in module.parameters())
        optimiser, loss = torch.optim.Adam(list(trained), lr=RATE), of_spikes.ce_count_loss()
        raster, labels = torch.tensor(data["raster"]), torch.tensor(data["labels"]).long()

        def step():
            optimiser.zero_grad()
            arriving, record, fired = first(raster), [], 0
            state, shown = hidden.reset_mem(), output.reset_mem()
            for now in arriving:
                if recurrent:
                    state = hidden(now, *state)
                    sent = state[0]
                else:
                    sent, *state = hidden(now, *state)
                spikes, *shown = output(last(sent), *shown)
                record.append(spikes)
                fired = fired + sent.detach().sum()
            record = torch.stack(record)
            loss(record, labels).backward()
            optimiser.step()
            return [float(fired), float(record.detach().sum())]

        return step

    return make, f"snnTorch {_version('snntorch')}, torch {torch.__version__}"


def _spyx():
    import jax
    import jax.numpy as jnp
    import optax
    import spyx  # pyright: ignore[reportMissingImports]
    from flax import nnx  # pyright: ignore[reportMissingImports]
    from spyx import nn  # pyright: ignore[reportMissingImports]

    loss_of = spyx.fn.integral_crossentropy(smoothing=0.0, time_axis=0)

    class Network(nnx.Module):
        """Hidden neurons and outputs, with the spikes of both."""

        def __init__(self, data):
            rngs = nnx.Rngs(0)
            settings = dict(
                alpha=float(data["alpha"]), beta=float(data["beta"]),
                activation=spyx.axn.superspike(SLOPE), rngs=rngs,
            )  # fmt: skip
            self.first, self.last = linear(data["into_hidden"]), linear(data["into_outputs"])
            size = data["into_hidden"].shape[1]
            if "between" in data:
                self.hidden = nn.RCuBaLIF((size,), **settings)
                self.hidden.recurrent_w[...] = jnp.asarray(data["between"])
            else:
                self.hidden = nn.CuBaLIF((size,), **settings)
            self.output = nn.CuBaLIF((data["into_outputs"].shape[1],), **settings)

        def initial_state(self, batch):
            return self.hidden.initial_state(batch), self.output.initial_state(batch)

        def __call__(self, arriving, state):
            sent, hidden = self.hidden(arriving, state[0])
            spikes, output = self.output(self.last(sent), state[1])
            return (spikes, jnp.sum(sent)), (hidden, output)

    def linear(weights):
        layer = nnx.Linear(*weights.shape, use_bias=False, rngs=nnx.Rngs(0))
        layer.kernel[...] = jnp.asarray(weights)
        return layer

    def is_weight(path, value):
        return isinstance(value, nnx.Param) and path[-1] not in ("alpha", "beta")

    def make(data):
        network = Network(data)
        optimiser = nnx.Optimizer(network, optax.adam(RATE), wrt=is_weight)
        raster, labels = jnp.asarray(data["raster"]), jnp.asarray(data["labels"])

        @nnx.jit
        def update(network, optimiser, raster, labels):
            def loss(network):
                (spikes, sent), _ = nn.run(network, network.first(raster))
                return loss_of(spikes, labels), (jnp.sum(sent), jnp.sum(spikes))

            slopes = nnx.grad(loss, argnums=nnx.DiffState(0, is_weight), has_aux=True)
            gradient, fired = slopes(network)
            optimiser.update(network, gradient)
            return fired

        def step():
            fired = jax.block_until_ready(update(network, optimiser, raster, labels))
            jax.block_until_ready(nnx.state(network))
            return [float(x) for x in fired]

        return step

    return make, f"spyx {_version('spyx')}, jax {jax.__version__}"


def _version(package):
    import importlib.metadata

    return importlib.metadata.version(package)


if __name__ == "__main__":
    main()
