"""The reference is written from the package: one page a room, one entry a public name.

What is public is what a room lists in `__all__`, or, in a room that is a single module, what it
defines under a name without an underscore. A name that `roughsnn` itself offers appears as
`roughsnn.<name>`, as users write it.
"""

import importlib
import inspect
import pkgutil
from types import ModuleType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import roughsnn

# In the order in which data flows; rooms not named here follow by name.
_TITLES = {
    "simulate": "Simulate",
    "protocol": "Protocols",
    "engines": "Engines",
    "simulate_on_grid": "Simulate on a grid",
    "surrogates": "Surrogate derivatives",
    "readouts": "Readouts",
    "neurons": "Neurons",
    "networks": "Networks",
    "gated": "Gated synapses",
    "balance": "Balanced networks",
    "plasticity": "Plasticity",
    "event_sde": "Event SDEs",
    "solve": "Event solver",
    "conditions": "Conditions",
    "drivers": "Drivers",
    "spikes": "Spike trains",
    "signatures": "Signatures",
    "losses": "Losses",
    "trials": "Trials",
    "estimators": "Estimators",
    "training": "Training",
    "tasks": "Tasks",
    "diagnostics": "Diagnostics",
    "plotting": "Plotting",
    "io": "Files and formats",
    "runs": "Runs",
    "devices": "Devices",
}
_NOT_API = {"cli"}


def _rooms() -> dict[str, ModuleType]:
    found = {module.name for module in pkgutil.iter_modules(roughsnn.__path__)} - _NOT_API
    found = {name for name in found if not name.startswith("_")}
    ordered = [name for name in _TITLES if name in found] + sorted(found - set(_TITLES))
    rooms = {name: importlib.import_module(f"roughsnn.{name}") for name in ordered}
    return {name: room for name, room in rooms.items() if _public(room)}


def _public(room: ModuleType) -> dict[str, object]:
    names = getattr(room, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(room).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == room.__name__
        ]
    return {name: getattr(room, name) for name in names}


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " ").capitalize())


def _identifier(room: ModuleType, name: str, value: object) -> str:
    # `roughsnn.simulate` is a function and a module of one name; the function is what users mean.
    offered = getattr(roughsnn, name, None) is value
    return f"roughsnn.{name}" if offered else f"{room.__name__}.{name}"


def _summary(value: object) -> str:
    """The first sentence of a docstring; a constant has none of its own."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return ""
    paragraph = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    head, stop, _ = paragraph.partition(". ")
    return (head + "." if stop else paragraph).replace("|", r"\|")


def _entry(identifier: str, room: ModuleType, name: str) -> str:
    if identifier != room.__name__:
        return f"::: {identifier}"
    # a name that is a module as well is taken for the module: show the function of it alone
    return f"::: {identifier}\n    options: {{members: [{name}]}}"


def _page(name: str, room: ModuleType) -> str:
    parts = [f"# {_title(name)}"]
    if room.__name__ not in {_identifier(room, n, value) for n, value in _public(room).items()}:
        parts.append(inspect.getdoc(room) or "")
    parts += [_entry(_identifier(room, n, value), room, n) for n, value in _public(room).items()]
    return "\n\n".join(parts) + "\n"


def _index(rooms: dict[str, ModuleType]) -> str:
    parts = ["# Reference", "`import roughsnn as rs` is meant throughout."]
    for name, room in rooms.items():
        parts.append(f"## [{_title(name)}]({name}.md)")
        rows = [
            f"| [`{n}`][{_identifier(room, n, value)}] | {_summary(value)} |"
            for n, value in _public(room).items()
        ]
        parts.append("\n".join(["| Name | |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages to the navigation."""
    pages = [{_title(name): f"reference/{name}.md"} for name in _rooms()]
    for entry in config.nav or []:
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"] = ["reference/index.md", *pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Write the pages."""
    rooms = _rooms()
    files.append(File.generated(config, "reference/index.md", content=_index(rooms)))
    for name, room in rooms.items():
        uri = f"reference/{name}.md"
        files.append(File.generated(config, uri, content=_page(name, room)))
    return files
