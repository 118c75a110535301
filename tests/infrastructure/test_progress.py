import io
import itertools
import sys
import threading

import pytest
from tqdm import tqdm

from rl_il.infrastructure.progress import Watch, clock, progress, seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def slow_clock(monkeypatch):
    """Return a clock that advances by a second each time that it is read."""
    clock = itertools.count(1000.0)
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))
    monkeypatch.setattr("rl_il.infrastructure.progress.time.perf_counter", lambda: next(clock))


def show_progress(items, total):
    return progress(items, total, "train")


def show_watch(items, total):
    return Watch(3, verbose=True)(items, "train", 1, total)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (3600, "60 min 00 s")]
)
def test_seconds_are_readable(value, text):
    assert seconds(value) == text


@pytest.mark.parametrize("show", [show_progress, show_watch, lambda items, _: Watch()(items, "train", 1)])
def test_all_items_come_in_order_and_only_when_needed(show):
    drawn = []
    items = show((drawn.append(i) or i for i in range(5)), 5)
    assert next(items) == 0
    assert drawn == [0]
    assert list(items) == [1, 2, 3, 4]


@pytest.mark.parametrize("show", [show_progress, show_watch])
def test_a_terminal_shows_a_line_that_is_removed(monkeypatch, slow_clock, show):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(show(range(20), 20)) == list(range(20))
    text = terminal.getvalue()
    assert "train" in text
    assert "5/20" in text and "15/20" in text
    assert text.split("\r")[-1].strip() == ""


@pytest.mark.parametrize("show", [show_progress, show_watch])
def test_a_pipe_gets_a_whole_line_now_and_then(capsys, slow_clock, show):
    list(show(range(35), 35))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert (out, len(lines)) == ("", 3)
    assert all(line.isprintable() and "train: " in line for line in lines)
    counts = [int(line.partition("train: ")[2].split()[0]) for line in lines]
    assert counts == [10, 20, 30]  # the clock says a second for each item
    assert lines[0].endswith("10 of 35, 10 s, about 25 s left")


def test_an_unknown_total_is_left_out(capsys, slow_clock):
    list(show_watch(range(12), None))
    assert capsys.readouterr().err.endswith("train: 10, 10 s\n")


def test_short_work_prints_nothing_into_a_pipe(capsys):
    list(show_watch(range(20), 20))
    assert capsys.readouterr() == ("", "")


def test_lines_continue_over_several_calls(capsys, slow_clock):
    watch = Watch(3, verbose=True)
    for done in (500, 506):
        list(watch(range(6), "train", 1, 600, done))
    (line,) = capsys.readouterr().err.splitlines()
    # The clock is also read twice between the two calls. 8 items took 10 s, so 92 items take 115 s.
    assert line == "itr 1/3 train: 508 of 600, 10 s, about 1 min 55 s left"


def test_one_line_continues_over_several_calls(monkeypatch, slow_clock):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    watch = Watch(3, verbose=True)
    for done in (0, 10):
        list(watch(range(10), "train", 1, 20, done))
    assert "itr 1/3" in terminal.getvalue()
    assert "15/20" in terminal.getvalue()


def test_a_watch_sums_the_time_of_each_kind_of_work(slow_clock):
    watch = Watch()
    for kind in ("train", "train", "log"):
        with watch.phase(kind):
            pass
    list(watch(range(3), "train", 0))
    assert watch.seconds == {"train": 3, "log": 1}
    watch.begin(earlier=100)
    assert watch.elapsed() == 101


def test_a_clock_moves_while_the_work_has_no_steps(monkeypatch):
    terminal, moved = Terminal(), threading.Event()
    monkeypatch.setattr(sys, "stderr", terminal)
    drawn = []

    def refresh(bar, **_):
        drawn.append(bar.display())
        if len(drawn) > 1:
            moved.set()

    monkeypatch.setattr(tqdm, "refresh", refresh)
    with clock("compiling"):
        assert moved.wait(10)
    assert "compiling: 00:0" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")  # the line is removed


def test_elsewhere_the_clock_is_one_line(capsys):
    with clock("compiling"):
        assert capsys.readouterr().err == "compiling ...\n"
    assert capsys.readouterr() == ("", "")
