"""The picture of the README: `python docs/assets/example.py` runs its example and draws it."""

import re
from pathlib import Path

import matplotlib.pyplot as plt

from roughsnn.plotting import plot_parameter, plot_raster

FOLDER = Path(__file__).parent


def main() -> None:
    """Run the first Python block of the README and write example.png beside this file."""
    text = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert block is not None, "the README has no Python block"
    names: dict = {}
    exec(block[1], names)

    figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 2.4), layout="constrained")
    plot_raster(names["observed"], left, max_trials=50)
    left.set_xlim(0, 1.5)
    plot_parameter(names["result"].history["current"], right, true=1.5, name="input current $c$")
    figure.savefig(FOLDER / "example.png", dpi=200)


if __name__ == "__main__":
    main()
