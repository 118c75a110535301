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
    assert "'c'" in err
    assert "at 100% of count (default: 3)" in out


def test_auto_is_a_worker_for_each_core_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 7}, raising=False)
    assert worker_count("auto") == parse("--num_workers", "auto").num_workers == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert worker_count("auto") == 6
    assert worker_count("2") == 2
    with pytest.raises(argparse.ArgumentTypeError, match="'all'"):
        worker_count("all")


def test_a_positive_integer_is_above_zero():
    assert positive_integer("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="0"):
        positive_integer("0")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", "8", 8),
        ("learning_rate", "1e-3", 1e-3),
        ("normalize_obs", "False", False),
        ("n_demos", "none", None),
        ("num_workers", "2", 2),
        ("expert_data", "a b.npz", "a b.npz"),
    ],
)
def test_a_value_is_read_as_its_field_holds_it(name, text, value):
    read = parse_value(RunConfig, name, text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text"),
    [("size", "x"), ("learning_rate", "fast"), ("normalize_obs", "2"), ("num_workers", "0"), ("sise", "8")],
)
def test_a_value_that_a_field_cannot_hold_is_named(name, text):
    with pytest.raises(InputError, match=name):
        parse_value(RunConfig, name, text)


@pytest.mark.parametrize("values", [{"size": "8"}, {"seed": None}, {"do_dagger": 1}, {"learning_rate": 10**400}])
def test_a_json_value_that_does_not_fit_is_named(values):
    with pytest.raises(InputError, match=next(iter(values))):
        from_json(RunConfig, values)
    assert from_json(RunConfig, {"learning_rate": 1, "of another version": 3}) == RunConfig(learning_rate=1)
