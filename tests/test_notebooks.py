"""Every notebook runs from top to bottom, with its quick settings.

A notebook that takes long keeps its settings in a cell tagged `parameters` and lists smaller
values in its own metadata, `{"quick": {"num_steps": 20}}`; these are assigned after that cell.
"""

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def _shorten(notebook):
    quick = notebook.metadata.get("quick", {})
    for index, cell in enumerate(notebook.cells):
        if quick and "parameters" in cell.metadata.get("tags", []):
            source = "\n".join(f"{name} = {value!r}" for name, value in quick.items())
            notebook.cells.insert(index + 1, nbformat.v4.new_code_cell(source))
            return
    assert not quick, "quick settings need a cell tagged `parameters`"


@pytest.mark.filterwarnings("default")  # the kernel's machinery is not ours to mend
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    _shorten(notebook)
    nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
