import argparse
import os
from dataclasses import dataclass

import pytest
from test_config import parse

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.options import from_arguments, from_json, option, parse_value, positive_integer, worker_count


def test_flags_come_from_any_dataclass_of_options(capsys):
    @dataclass(frozen=True)
    class Tiny:
        count: int = option(3, "at 100% of count", "c")
        rate: float = option(0.5, "the rate")
        word: str | None = option(None, "a word", choices=("a", "b"))
        fast: bool = option(False, "go fast", "f")

    assert from_arguments(Tiny, parse(config_class=Tiny)) == Tiny()
    words = "-c 4 --rate 2 --word b -f".split()
    assert from_arguments(Tiny, parse(*words, config_class=Tiny)) == Tiny(4, 2.0, "b", True)
    with pytest.raises(SystemExit):
        parse("--word", "c", config_class=Tiny)
    with pytest.raises(SystemExit):
        parse("--help", config_class=Tiny)
    out, err = capsys.readouterr()
    assert "invalid choice: 'c'" in err
    assert "at 100% of count (default: 3)" in out


@pytest.mark.parametrize("text, number", [("1", 1), ("12", 12)])
def test_positive_integer(text, number):
    assert positive_integer(text) == number


def test_auto_is_a_worker_for_each_core_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 7}, raising=False)
    assert worker_count("auto") == parse("--num_workers", "auto").num_workers == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert worker_count("auto") == 6
    assert worker_count("2") == 2
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number of processes or auto, got 'all'"):
        worker_count("all")


@pytest.mark.parametrize("text", ["0", "-3"])
def test_positive_integer_refuses_less(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"must be 1 or more, got {text}"):
        positive_integer(text)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", "8", 8),
        ("learning_rate", "1e-3", 1e-3),
        ("activation", "relu", "relu"),
        ("normalize_obs", "False", False),
        ("n_demos", "none", None),
        ("n_demos", "3", 3),
        ("num_workers", "2", 2),
        ("expert_data", "a b.npz", "a b.npz"),
    ],
)
def test_a_value_is_read_as_its_field_holds_it(name, text, value):
    read = parse_value(RunConfig, name, text)
    assert (read, type(read)) == (value, type(value))


def test_an_integer_too_large_for_a_float_is_refused():
    with pytest.raises(InputError, match="learning_rate must be a number that a float holds"):
        from_json(RunConfig, {"learning_rate": 10**400})
