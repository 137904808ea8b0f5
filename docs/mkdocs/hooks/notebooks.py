"""The notebooks of the repository become pages, with the outputs that they were saved with."""

from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

_NOTEBOOKS = Path(__file__).parents[3] / "notebooks"


def _title(notebook: nbformat.NotebookNode) -> str:
    for cell in notebook.cells:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and line.startswith("# "):
                return line[2:].strip()
    raise ValueError("a notebook needs a heading of the first level")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add a section of notebooks to the navigation, before the reference."""
    pages = [
        {_title(nbformat.read(path, as_version=4)): f"notebooks/{path.stem}.md"}
        for path in sorted(_NOTEBOOKS.glob("*.ipynb"))
    ]
    if pages and config.nav is not None:
        sections = [next(iter(entry)) if isinstance(entry, dict) else "" for entry in config.nav]
        config.nav.insert(sections.index("Reference"), {"Notebooks": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and their pictures."""
    for path in sorted(_NOTEBOOKS.glob("*.ipynb")):
        prefix = f"notebooks/{path.stem}_files"
        exporter = MarkdownExporter()
        body, resources = exporter.from_filename(
            str(path), resources={"output_files_dir": f"{path.stem}_files", "unique_key": path.stem}
        )
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=body))
        for name, data in resources["outputs"].items():
            uri = f"{prefix}/{Path(name).name}"
            files.append(File.generated(config, uri, content=data))
    return files
