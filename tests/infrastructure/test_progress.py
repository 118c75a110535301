import io
import itertools
import sys

import pytest

from rl_il.infrastructure.progress import progress, seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def slow_clock(monkeypatch):
    """Every look at the clock finds it a second later."""
    clock = itertools.count(1000.0)
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (7.6, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3600, "60 min 00 s"),
    ],
)
def test_seconds_are_readable(value, text):
    assert seconds(value) == text


def test_progress_yields_every_item_in_order():
    assert list(progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]


def test_progress_is_lazy():
    drawn = []
    items = progress((drawn.append(i) or i for i in range(5)), 5, "numbers")
    assert next(items) == 0
    assert drawn == [0]


def test_progress_draws_a_moving_line_on_a_terminal(monkeypatch, slow_clock):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress(range(20), 20, "training")) == list(range(20))
    text = terminal.getvalue()
    assert "training" in text
    assert "5/20" in text
    assert "15/20" in text
    assert text.split("\r")[-1].strip() == ""  # it vanishes at the end


def test_progress_draws_nothing_into_a_pipe(capsys, slow_clock):
    list(progress(range(20), 20, "training"))
    assert capsys.readouterr() == ("", "")
