"""The pictures that pages draw themselves: `python docs/assets/pages.py` runs those pages here."""

import os
import re
from pathlib import Path

import matplotlib

FOLDER = Path(__file__).parent
PAGES = ("how-to/plots.md", "how-to/statistics.md", "explanation/pathwise-gradients.md")
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def main() -> None:
    """Run every Python block of each page in this folder, where they write their pictures."""
    matplotlib.use("Agg")
    os.chdir(FOLDER)
    for pictures in ("plots-*", "statistics-*", "gradients-*"):
        for picture in FOLDER.glob(pictures):
            picture.unlink()
    for page in PAGES:
        text = (FOLDER.parent / page).read_text(encoding="utf-8")
        names: dict = {"__name__": page}
        for block in _BLOCK.findall(text):
            exec(block, names)


if __name__ == "__main__":
    main()
