"""Inputs that once gave a wrong answer without a word, by kind, each with what is right.

Every module of this package has a list `FAULTS`. A check runs the input in JAX's default precision
unless it says otherwise, and returns what it found, in words, and whether that is right.
"""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Fault:
    """One input.

    Attributes:
        number: its number in the list of faults.
        name: what went wrong, in a phrase.
        check: runs the input; returns what was found and whether it is right.
    """

    number: int
    name: str
    check: Callable[[], tuple[str, bool]]


def refusal(call: Callable[[], object], *words: str) -> tuple[str, bool]:
    """Whether `call` is refused by an error whose text has all of `words`."""
    try:
        outcome = call()
    except Exception as error:
        text = " ".join(str(error).split())
        right = all(word in text for word in words)
        return f"refused: {type(error).__name__}: {text[:120]}", right
    return f"not refused: {outcome!r}"[:160], False
