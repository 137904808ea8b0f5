"""The settings of a run: what all of them have, and how they are checked."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting may be, ends included unless it is `above` the least."""

    least: float | int = -math.inf
    most: float | int = math.inf
    above: bool = False
    infinite: bool = False

    def holds(self, value: float | int) -> bool:
        """Whether `value` may be given; NaN never, infinity only where it means something."""
        if math.isinf(value) and not self.infinite:
            return False
        return value > self.least and value <= self.most if self.above else (
            self.least <= value <= self.most
        )  # fmt: skip

    def __str__(self) -> str:
        if math.isfinite(self.most):
            return f"between {self.least:g} and {self.most:g}"
        if math.isfinite(self.least):
            number = f"{'above' if self.above else 'at least'} {self.least:g}"
            return number + (", or `inf`" if self.infinite else "")
        return "finite"


def at_least(least: float | int) -> Range:
    """Numbers from `least` on."""
    return Range(least)


def above(least: float | int, *, infinite: bool = False) -> Range:
    """Numbers above `least`."""
    return Range(least, math.inf, above=True, infinite=infinite)


def between(least: float | int, most: float | int) -> Range:
    """Numbers from `least` to `most`."""
    return Range(least, most)


FINITE = Range()
"""Any number."""
SEED = between(0, 2**31 - 1)
"""What can be the seed of random numbers."""


def check_ranges(settings: Any, ranges: Mapping[str, Range]) -> None:
    """Refuse settings that are out of range, by name.

    Args:
        settings: a dataclass of settings; `None` in it is no number, and of several numbers each
            is checked.
        ranges: what each may be.

    Raises:
        ValueError: one is out of range; the text says its name, its value and the range.
    """
    for name, allowed in ranges.items():
        value = getattr(settings, name)
        if isinstance(value, tuple):
            for one in value:
                if not allowed.holds(one):
                    raise ValueError(f"`{name}` holds {one}; each must be {allowed}.")
        elif value is not None and not allowed.holds(value):
            raise ValueError(f"`{name}` is {value}; it must be {allowed}.")


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """What the settings of every run have; a subclass adds its own and gives `output`.

    A subclass says in `number_ranges` what its own numbers may be, beside those of the classes it
    is made from, in `without_repeats` which of its settings hold no value twice, and in `presets`
    which flags, such as `quick`, choose another size of the run: the values of all settings that
    are not given themselves. What is given is what is run.
    """

    number_ranges: ClassVar[Mapping[str, Range]] = {}
    without_repeats: ClassVar[tuple[str, ...]] = ()
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    output: Path = Path("runs")
    """Folder under which the run gets a numbered folder of its own."""
    resume: Path | None = None
    """Folder of an earlier run to go on with. Its settings hold, apart from those that are given
    as well."""
    checkpoint_every: int = 50
    """Steps between two checkpoints; a run that is killed loses at most so many."""
    progress: bool = True
    """Whether to show a progress bar."""

    def __new__(cls, *values: Any, **named: Any):
        # a field that is given its default is given, which the instance alone does not tell
        self = super().__new__(cls)
        in_order = [field.name for field in dataclasses.fields(cls)][: len(values)]
        self.__dict__["_given"] = frozenset((*in_order, *named))
        return self

    def __post_init__(self):
        for name, value in self._size().items():
            if name not in self.__dict__["_given"]:
                object.__setattr__(self, name, value)
        for field in dataclasses.fields(self):
            # an option given without a value would run nothing
            several = isinstance(field.default, tuple) and len(field.default) > 0
            if several and getattr(self, field.name) == ():
                raise ValueError(f"`{field.name}` is empty; give one value or more.")
        ranges = {"checkpoint_every": at_least(1)}
        for kind in reversed(type(self).__mro__):
            ranges |= vars(kind).get("number_ranges", {})
        check_ranges(self, ranges)
        for name in self.without_repeats:
            values = getattr(self, name)
            twice = [value for i, value in enumerate(values) if value in values[:i]]
            if twice:
                raise ValueError(f"`{name}` holds {twice[0]} twice; give each value once.")

    def refuse_unused(self, names: tuple[str, ...], where: str) -> None:
        """Refuse settings that would be ignored.

        Args:
            names: settings that are not used.
            where: with which other setting, in words.

        Raises:
            ValueError: one of them is not at its default.
        """
        size, fields = self._size(), dataclasses.fields(self)
        for field in fields:
            value = getattr(self, field.name)
            default = (field.default, size.get(field.name, field.default))
            if field.name in names and value not in default:
                raise ValueError(
                    f"`{field.name}` is {value}, which is not used {where}; leave it out."
                )

    def _size(self) -> dict[str, Any]:
        """The values that the flags for other sizes choose."""
        chosen = {}
        for flag, size in self.presets.items():
            if getattr(self, flag):
                chosen |= size
        return chosen


def check_resumed(settings: RunSettings, earlier: RunSettings) -> None:
    """Refuse settings that a run which goes on cannot follow.

    Args:
        settings: those of the session that goes on, with `resume`.
        earlier: those that the run had.

    Raises:
        ValueError: another size, or another folder than the run has.
    """
    for flag in settings.presets:
        if getattr(settings, flag) != getattr(earlier, flag):
            raise ValueError(
                f"`{flag}` chooses the size of a run when it begins; {settings.resume} was begun "
                f"{'without' if getattr(settings, flag) else 'with'} it. Leave it out, and give "
                "the settings that are to change."
            )
    if settings.output != earlier.output and settings.resume is not None:
        own = settings.resume.resolve().parent
        if settings.output.resolve() != own:
            raise ValueError(
                f"`output` is {settings.output}, and a run that goes on stays in {own}; leave "
                "`output` out, or `resume` to begin anew."
            )
