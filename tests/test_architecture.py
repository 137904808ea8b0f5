"""The table of rooms in `docs/architecture.md` is true: who imports whom, and nothing private."""

import ast
import re
from pathlib import Path

import roughsnn

ROOT = Path(roughsnn.__file__).parent
PAGE = ROOT.parent / "docs" / "architecture.md"
# What serves all rooms, and the two ends of the package: all of it, and the command line.
SHARED = {"_checks", "_exponentials", "_host_errors", "_random", "_shown", "_signals", "_native"}
ENDS = {"__init__", "__main__", "cli", "commands"}


def room_of(name: str) -> str:
    return name.removesuffix(".py")


def stated() -> dict[str, set[str]]:
    """Room -> rooms it imports, as the page has them."""
    rows = re.findall(r"^\| `roughsnn/([\w.]+?)/?` \|[^|]*\|([^|]*)\|$", PAGE.read_text(), re.M)
    return {room_of(room): set(re.findall(r"`([\w]+)`", imports)) for room, imports in rows}


def imports(file: Path) -> list[list[str]]:
    """What a module imports from this package, as paths below it."""
    package = list(file.relative_to(ROOT).parent.parts)
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)]
            below = [*base, *(node.module.split(".") if node.module else [])]
            found += [below] if below else [[alias.name] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("roughsnn."):
            found.append(node.module.split(".")[1:])
    return found


def test_rooms_import_what_the_table_says_and_nothing_private():
    table, wrong, used = stated(), [], {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[0] in ENDS | SHARED:
            continue
        assert parts[0] in table, f"{parts[0]} is no room of the table"
        for target in imports(file):
            if target[0] in {parts[0]} | SHARED:
                continue
            used.setdefault(parts[0], set()).add(target[0])
            if target[0] not in table[parts[0]]:
                wrong.append(f"{file.relative_to(ROOT)} imports {target[0]}")
            if any(name.startswith("_") for name in target):
                wrong.append(f"{file.relative_to(ROOT)} imports {'.'.join(target)}, private there")
    assert not wrong, "\n".join(wrong)
    for room, rooms in table.items():
        if room not in ENDS:
            assert rooms <= used.get(room, set()), f"{room}: {rooms - used.get(room, set())}"


def test_rooms_import_rooms_above_them():
    """No room is imported by one that stands above it in the table."""
    order = list(stated())
    for room, rooms in stated().items():
        for other in rooms & set(order):
            assert order.index(other) < order.index(room), f"{room} imports {other}"
