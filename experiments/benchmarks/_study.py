"""What a study hands back: its figures, the bounds they must keep, and a table to read."""

import dataclasses
import json
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ONE_SIDED = re.compile(rf"\s*(<=|>=|<|>)\s*({_NUMBER})\s*")
_TWO_SIDED = re.compile(rf"\s*between\s+({_NUMBER})\s+and\s+({_NUMBER})\s*")
_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


def keeps(figure: float, bound: str) -> bool:
    """Whether a figure keeps a bound written as `"<= 3"` or `"between -0.7 and -0.3"`.

    The comparisons are `<=`, `>=`, `<` and `>`; `between` includes both ends. A figure that is
    not a number keeps no bound.

    Raises:
        ValueError: the bound is written in another way.
    """
    if match := _ONE_SIDED.fullmatch(bound):
        comparison, limit = match.groups()
        return bool(_COMPARISONS[comparison](figure, float(limit)))
    if match := _TWO_SIDED.fullmatch(bound):
        low, high = map(float, match.groups())
        return bool(low <= figure <= high)
    raise ValueError(
        f"the bound {bound!r} is not understood; write it as '<= 3' or 'between 1 and 2'"
    )


@dataclasses.dataclass(frozen=True)
class Study:
    """The outcome of a study.

    Attributes:
        figures: what was measured, by name.
        bounds: what the figure of the same name must keep, as `keeps` reads it. Figures
            without a bound are reported and not judged.
        table: what a person reads, several lines of text.
    """

    figures: Mapping[str, float]
    bounds: Mapping[str, str]
    table: str

    def __post_init__(self):
        if unknown := sorted(set(self.bounds) - set(self.figures)):
            raise ValueError(f"bounds on figures that were not measured: {', '.join(unknown)}")
        for bound in self.bounds.values():
            keeps(0.0, bound)

    @property
    def missed(self) -> list[str]:
        """The names of the figures that miss their bound."""
        return [name for name, bound in self.bounds.items() if not keeps(self.figures[name], bound)]

    @property
    def holds(self) -> bool:
        """Whether every bound is kept."""
        return not self.missed

    def to_json(self, name: str) -> str:
        """One line of JSON; a figure that is not finite becomes `null`."""
        figures = {
            key: float(value) if math.isfinite(value) else None
            for key, value in self.figures.items()
        }
        return json.dumps(
            {"study": name, "figures": figures, "bounds": dict(self.bounds), "holds": self.holds},
            allow_nan=False,
        )


def format_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under a header as a Markdown table, with columns aligned; floats to four digits."""
    cells = [list(header)] + [
        [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
