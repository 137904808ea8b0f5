"""The progress bar where nobody watches it: lines now and then, none of them long."""

import time

from roughsnn.training.progress import Progress


def test_a_log_file_gets_few_short_lines(capfd, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Progress(10_000, enabled=True) as bar:
        for _ in range(1000):
            clock[0] += 1.0
            bar.update(10, 0.5)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 20
    assert max(map(len, lines)) < 80
    assert lines[-1].startswith("step 10000/10000")
    # and of a fit that takes no time, its end alone
    with Progress(1000, enabled=True) as bar:
        for _ in range(100):
            clock[0] += 0.01
            bar.update(10, 0.5)
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_no_progress_is_shown_where_none_is_wanted(capfd):
    with Progress(10, enabled=False) as bar:
        bar.update(10, 0.5)
    assert capfd.readouterr().err == ""
