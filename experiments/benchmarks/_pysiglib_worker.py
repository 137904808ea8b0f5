"""One side of the study of signature kernels, in an interpreter that has pySigLib.

It reads where the paths lie as one line of JSON, and then questions, one a line. Each it answers
with the wall-clock and CPU seconds of one run on all cores, and with the error of the result where
an exact one was given. It imports nothing of this project.
"""

import json
import sys
import time

import numpy as np
import pysiglib  # pyright: ignore[reportMissingImports]


def main():
    """Answer questions until there are none."""
    out = sys.stdout
    sys.stdout = sys.stderr
    loaded = np.load(json.loads(sys.stdin.readline()))
    # pySigLib copies arrays that do not own their numbers in every call.
    data = {name: np.array(loaded[name], order="C") for name in loaded.files}
    print(json.dumps({"version": pysiglib.__version__}), file=out, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        run, exact = _task(data, **asked)
        wall, cpu = time.perf_counter(), time.process_time()
        result = run()
        answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        if exact is not None:
            answer["error"] = float(np.max(np.abs(np.asarray(result) / exact - 1)))
        print(json.dumps(answer), file=out, flush=True)


def _task(data, what, case, order):
    x = data[f"{case}_x"]
    if what == "signature":
        return lambda: pysiglib.sig(x, order, n_jobs=-1), None
    if what == "signature_gradient":

        def both():
            signature = pysiglib.sig(x, order, n_jobs=-1)
            return pysiglib.sig_backprop(x, signature, 2 * signature, order, n_jobs=-1)

        return both, None
    y = data[f"{case}_y"]
    series = dict(method="polynomial", order=order, n_jobs=-1)
    if what == "gram":
        return lambda: pysiglib.sig_kernel_gram(x, y, **series), data.get(f"{case}_exact")
    # The derivative alone, without the value.
    slopes = np.full((len(x), len(y)), 1 / (len(x) * len(y)))
    return lambda: pysiglib.sig_kernel_gram_backprop(slopes, x, y, **series), None


if __name__ == "__main__":
    main()
