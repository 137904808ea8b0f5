"""The picture of the page on signature kernels: `python docs/assets/signature_kernel.py`."""

import re
from pathlib import Path

import matplotlib.pyplot as plt

from roughsnn.plotting import plot_gram, plot_witness

FOLDER = Path(__file__).parent


def main() -> None:
    """Run the first Python block of the page and write signature-kernel.png beside this file."""
    page = FOLDER.parent / "explanation" / "signature-kernels.md"
    block = re.search(
        r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert block is not None, "the page has no Python block"
    names: dict = {}
    exec(block[1], names)

    figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 2.8), layout="constrained")
    first, second = names["irregular"], names["regular"]
    labels = ["irregular", "regular"]
    plot_gram(names["gram"], left, sizes=[len(first), len(second)], names=labels)
    witness, counts = names["witness"], names["both"].counts
    split = len(first)
    plot_witness(counts[:split], witness[:split], right, label=labels[0])
    plot_witness(counts[split:], witness[split:], right, label=labels[1])
    figure.savefig(FOLDER / "signature-kernel.png", dpi=200)
    print("p-value", float(names["result"].p_value), "power", float(names["result"].power))


if __name__ == "__main__":
    main()
