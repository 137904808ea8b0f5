"""Every fenced Python block of the README and of the documentation runs.

The blocks of a page run in order in one namespace, in a fresh interpreter and an empty folder,
as a reader would run them. A block after the line `<!-- skip -->` is left out.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"^(?P<skip><!-- skip -->\n+)?^```python[^\n]*\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)


def extract_code(text: str) -> str:
    """The Python of a page, each line where it stands in the page, so that errors point there."""
    lines = [""] * text.count("\n")
    for block in _BLOCK.finditer(text):
        if block["skip"] is None:
            first = text.count("\n", 0, block.start("code"))
            code = block["code"].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines)


def _pages_with_code():
    return [page for page in PAGES if extract_code(page.read_text(encoding="utf-8")).strip()]


@pytest.mark.parametrize("page", _pages_with_code(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page, tmp_path):
    code = extract_code(page.read_text(encoding="utf-8"))
    program = f"exec(compile({code!r}, {str(page)!r}, 'exec'), {{'__name__': '__main__'}})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_lines_stay_where_they_are_and_skipped_blocks_are_left_out():
    page = "# Title\n\n```python\nx = 1\n```\n\n<!-- skip -->\n```python\nraise\n```\n\n"
    page += "```bash\nls\n```\n\n```python title='last'\ny = x\n```\n"
    assert extract_code(page).split("\n") == [""] * 3 + ["x = 1"] + [""] * 12 + ["y = x", ""]
