"""A run made of parts: each result is kept, and a run that goes on computes what is left."""

import contextlib
import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .checkpoints import Checkpoints

_NOT_PART = {"resume", "progress", "output", "checkpoint_every"}


def compute_parts(
    parts: Mapping[str, Callable[[], Any]],
    checkpoints: Checkpoints,
    *,
    settings: Any = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Compute the parts of a run one after another; those that an earlier session has computed are
    read from its checkpoints.

    ```python
    with rs.RunFolder.start(settings) as folder:
        parts = {f"seed {s}": partial(measure, s) for s in range(10)}
        results = compute_parts(parts, folder.checkpoints("parts", 1), settings=settings)
    ```

    Args:
        parts: by name, functions without arguments whose results JSON holds: numbers, texts, lists,
            dictionaries.
        checkpoints: where results are kept, and after how many parts.
        settings: a dataclass; results that were computed with other settings are refused, apart
            from `resume`, `progress`, `output` and `checkpoint_every`.
        progress: whether to show a progress bar.

    Returns:
        The results by name, as they are read back from JSON: tuples become lists.

    Raises:
        CheckpointError: a checkpoint is damaged, or is one of other settings.
        TypeError: a result that JSON does not hold.
    """
    identity = {"settings": _digest(settings)}
    with checkpoints.open():
        kept = checkpoints.restore((), identity=identity)
        results = {} if kept is None else dict(kept.notes["results"])
        left = [name for name in parts if name not in results]
        unsaved = 0
        with _bar(len(parts), len(parts) - len(left), progress) as bar:
            try:
                for name in left:
                    bar.set_description(name)
                    results[name] = json.loads(json.dumps(parts[name]()))
                    unsaved += 1
                    bar.update()
                    if unsaved >= checkpoints.every:
                        checkpoints.save(len(results), (), notes={"results": results},
                                         identity=identity)  # fmt: skip
                        unsaved = 0
            finally:
                if unsaved:
                    checkpoints.save(
                        len(results), (), notes={"results": results}, identity=identity
                    )
    return {name: results[name] for name in parts}


def _digest(settings: Any) -> str:
    if settings is None:
        return ""
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k not in _NOT_PART}
    return hashlib.sha256(json.dumps(values, default=str, sort_keys=True).encode()).hexdigest()


class _Lines:
    """Progress as lines of text, where there is no terminal or no tqdm."""

    def __init__(self, total: int, done: int, shown: bool):
        self.total, self.done, self.shown = total, done, shown

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set_description(self, name: str) -> None:
        if self.shown:
            # a full disk or a reader that has gone must not end the run
            with contextlib.suppress(OSError):
                print(f"{self.done + 1} of {self.total}: {name}", file=sys.stderr, flush=True)

    def update(self) -> None:
        self.done += 1


def _bar(total: int, done: int, shown: bool) -> Any:
    if shown and sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            return tqdm(total=total, initial=done, unit="part", dynamic_ncols=True)
    return _Lines(total, done, shown)
