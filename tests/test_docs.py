"""Every fenced Python block of the README and of the documentation runs.

The blocks of a page run in order in one namespace, in a process of their own and an empty folder,
as a reader would run them. A block after the line `<!-- skip -->` is left out.
"""

import re
from pathlib import Path

import pytest

from tests.prepared import run_program

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
    exit_code, printed = run_program(code, str(page), tmp_path)
    assert exit_code == 0, printed


def test_lines_stay_where_they_are_and_skipped_blocks_are_left_out():
    page = "# Title\n\n```python\nx = 1\n```\n\n<!-- skip -->\n```python\nraise\n```\n\n"
    page += "```bash\nls\n```\n\n```python title='last'\ny = x\n```\n"
    assert extract_code(page).split("\n") == [""] * 3 + ["x = 1"] + [""] * 12 + ["y = x", ""]


def test_a_page_that_fails_says_where(tmp_path):
    code, printed = run_program("import sys\n\nprint('first')\nmissing", "a page", tmp_path)
    assert code == 1
    assert printed.startswith("first\n")
    assert 'File "a page", line 4' in printed
    assert "NameError: name 'missing' is not defined" in printed


def test_pages_share_nothing_but_imports(tmp_path):
    first = "import jax, roughsnn\njax.config.update('jax_enable_x64', True)\nroughsnn.kept = 1"
    second = "import jax, roughsnn\nprint(jax.config.jax_enable_x64, hasattr(roughsnn, 'kept'))"
    assert run_program(first, "first", tmp_path) == (0, "")
    assert run_program(second, "second", tmp_path) == (0, "False False\n")
