"""Parts of a run: each is computed once, also when a run is cut off in between."""

import dataclasses

import pytest

import roughsnn as rs
from roughsnn.runs import compute_parts


@dataclasses.dataclass(frozen=True)
class Some:
    size: int = 1
    progress: bool = False


def parts_of(calls, fails_at=None):
    def make(i):
        def part():
            if i == fails_at:
                raise KeyboardInterrupt
            calls.append(i)
            return {"value": i / 3, "pair": (i, None)}

        return part

    return {f"part {i}": make(i) for i in range(4)}


@pytest.mark.parametrize("every", [1, 3])
def test_a_run_goes_on_where_it_was_cut_off(tmp_path, every):
    checkpoints = rs.Checkpoints(tmp_path / "parts", every=every, resume=True)
    calls = []
    with pytest.raises(KeyboardInterrupt):
        compute_parts(parts_of(calls, fails_at=2), checkpoints, settings=Some())
    results = compute_parts(parts_of(calls), checkpoints, settings=Some(progress=True))
    assert calls == [0, 1, 2, 3]
    assert results == {f"part {i}": {"value": i / 3, "pair": [i, None]} for i in range(4)}
    assert compute_parts(parts_of(calls), checkpoints, settings=Some()) == results
    assert calls == [0, 1, 2, 3]


def test_results_of_other_settings_are_refused(tmp_path):
    checkpoints = rs.Checkpoints(tmp_path / "parts", resume=True)
    compute_parts(parts_of([]), checkpoints, settings=Some())
    with pytest.raises(rs.CheckpointError, match="settings"):
        compute_parts(parts_of([]), checkpoints, settings=Some(size=2))


def test_progress_is_told_line_by_line(tmp_path, capsys):
    compute_parts(parts_of([]), rs.Checkpoints(tmp_path / "parts"), progress=True)
    assert "2 of 4: part 1" in capsys.readouterr().err
