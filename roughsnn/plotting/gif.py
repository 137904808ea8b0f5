"""Pictures that move: training as a GIF."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from roughsnn.io.whole_file import whole_file

from .style import new_axes, remove_images


def save_gif(
    path: Path | str,
    frames: Iterable[Any],
    draw: Callable[[Any, Any], Any],
    ax: Any = None,
    *,
    frames_per_second: float | int = 8,
    hold: float | int = 1.5,
    height: float | int = 2.4,
    dpi: float | int = 120,
    overwrite: bool = False,
) -> Any:
    """Write a moving picture, drawn anew for each frame on axes that are cleared before.

    To watch a training run, collect what is to be seen in the callback of `fit`, and draw it:

    ```python
    save_gif("training.gif", weights_over_time,
             lambda weights, ax: plot_weights(true, weights, ax))
    ```

    Limits that are to stay from frame to frame are set in `draw`. The layout is that of the last
    frame throughout.

    Args:
        path: of the file, which ends in `.gif`.
        frames: what `draw` is given, one picture each.
        draw: function of a frame and the axes.
        ax: axes to draw on, or several of one figure, which are cleared and passed on together; by
            default those of a new figure.
        frames_per_second: speed.
        hold: for how many seconds the last frame stays before it begins again.
        height: of a new figure, in inches.
        dpi: dots per inch.
        overwrite: replace a file that exists.

    Returns:
        the axes, with the last frame.

    Raises:
        FileExistsError: there is a file already and `overwrite` is not set.
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written; nothing of it is left.
        ValueError: no frames, a path that does not end in `.gif`, or a speed that is not positive.
    """
    path, frames = Path(path), list(frames)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"`path` is {str(path)!r}; it must end in .gif.")
    if not frames:
        raise ValueError("`frames` is empty; a moving picture needs one or more.")
    if not frames_per_second > 0 or not hold >= 0:
        raise ValueError(
            f"`frames_per_second` is {frames_per_second} and `hold` {hold}; the one must be "
            "positive and the other not negative."
        )
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists already; choose another name, or pass `overwrite=True` to replace it."
        )
    ax = new_axes(ax, height=height)
    from PIL import Image

    axes = list(getattr(ax, "flat", ax if isinstance(ax, list | tuple) else [ax]))
    figure = axes[0].figure

    def drawn(frame: Any) -> Any:
        for one in axes:
            remove_images(one)  # and their scales of colours, which are axes of their own
            one.clear()
        draw(frame, ax)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=dpi)
        picture = Image.open(content).convert("RGB")
        return picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=128)

    # Laid out once: axes that shift with the width of a label would make the picture tremble.
    drawn(frames[-1])
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")
    try:
        pictures = [drawn(frame) for frame in frames]
    finally:
        figure.set_layout_engine(layout)
    step = max(round(1000 / frames_per_second), 20)
    with whole_file(path) as file:
        pictures[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=[step] * (len(pictures) - 1) + [step + round(1000 * hold)],
            loop=0,
        )
    return ax
