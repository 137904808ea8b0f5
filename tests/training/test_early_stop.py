import numpy as np
import pytest

from roughsnn.training import EarlyStop


def reason(stop, *values):
    return stop.reason({"loss": np.array(values, dtype=float)})


def test_target():
    stop = EarlyStop(target=1.0, window=2)
    assert reason(stop, 0.5) is None
    assert reason(stop, 2.0, 0.5) is None
    assert reason(stop, 2.0, 1.0, 1.0) == (
        "the mean loss of 2 steps reached 1, at or below the target 1"
    )


def test_patience():
    stop = EarlyStop(patience=2)
    assert reason(stop) is None
    assert reason(stop, 3.0, 2.0) is None
    assert reason(stop, 3.0, 4.0, 2.0) is None
    assert reason(stop, 3.0, 4.0, 3.0) == "the loss has not fallen for 2 steps (best 3)"


def test_small_changes_do_not_count():
    assert reason(EarlyStop(patience=1, min_change=0.5), 3.0, 2.7) is not None
    assert reason(EarlyStop(patience=1, min_change=0.5), 3.0, 2.4) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "`target` and `patience` are both missing"),
        ({"target": np.nan}, "`target` must be finite, got nan"),
        ({"patience": 0}, "`patience` must be an integer of at least 1, got 0"),
        ({"patience": 1, "min_change": -1.0}, "`min_change` must be at least 0, got -1.0"),
        ({"patience": 1, "window": 0}, "`window` must be an integer of at least 1, got 0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        EarlyStop(**settings)
