import argparse
import os
import re
from dataclasses import dataclass

import pytest
from test_config import parse

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.options import (
    CommandParser,
    add_arguments,
    from_arguments,
    from_json,
    option,
    parse_value,
    positive_integer,
    worker_count,
)
from rl_il.teacher.settings import TeachConfig


def test_any_dataclass_of_options_gives_flags(capsys):
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


@dataclass(frozen=True)
class Grouped:
    first: int = option(1, "one")
    second: int = option(2, "two", group="numbers")
    third: float | None = option(None, "three")
    word: str = option("x", "a word (default: x, of course)", group="words and letters")


def help_of(parser: argparse.ArgumentParser) -> str:
    return " ".join(parser.format_help().split())


def test_flags_are_shown_in_their_groups():
    parser = CommandParser("A script.")
    add_arguments(parser, Grouped, without=("second",))
    text = help_of(parser)
    places = [text.index(words) for words in ("--first", "numbers: --third", "words and letters: --word")]
    assert places == sorted(places)
    assert from_arguments(Grouped, parser.parse_args(["--third", "3"])) == Grouped(third=3.0)


def test_every_default_is_shown_once_and_is_the_one_that_holds():
    parser = CommandParser("A script.")
    parser.add_argument("--switch", action="store_true", help="a switch")
    add_arguments(parser, Grouped)
    parser.set_defaults(second=22, third=33.0)
    shown = dict(re.findall(r"--(\w+) \w+ ([^-]*)", help_of(parser).partition("options:")[2]))
    assert "default" not in shown.pop("switch") + shown.pop("help", "")
    defaults = {name: re.findall(r"\(default: (.*?)\)", text) for name, text in shown.items()}
    assert defaults == {"first": ["1"], "second": ["22"], "third": ["33.0"], "word": ["x, of course"]}


@pytest.mark.parametrize("parse_config", [RunConfig, TeachConfig])
def test_no_flag_states_two_defaults(parse_config):
    parser = CommandParser("A script.")
    add_arguments(parser, parse_config)
    for part in re.split(r" (?=--\w)", help_of(parser).partition("options:")[2]):
        assert part.count("(default") <= 1, part


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("--lerning_rate 3", "--learning_rate"),
        ("--learning-rate=3 --nothing", "--learning_rate"),
        ("--lr 3", "-lr"),
        ("--no_dagger", "--do_dagger"),
        ("--xyzzy", "--help"),
    ],
)
def test_an_unknown_flag_is_answered_in_one_line_with_the_nearest(words, near, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(*words.split())
    out, err = capsys.readouterr()
    flag = words.split()[0].partition("=")[0]
    assert (exit_.value.code, out, err.count("\n")) == (2, "", 1)
    assert flag in err and near in err.partition(flag)[2]


def test_the_start_of_a_flag_is_enough():
    assert parse("--learning_r", "0.1").learning_rate == 0.1


@pytest.mark.parametrize("words", ["stray", "--seed", "--seed x", "--head x", "--eval 3"])
def test_other_mistakes_are_one_line_too(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(*words.split())
    err = capsys.readouterr().err
    assert (exit_.value.code, err.count("\n")) == (2, 1)
    assert words.split()[0] in err


def test_auto_is_one_worker_for_each_usable_core(monkeypatch):
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
def test_a_text_becomes_a_value_of_its_fields_type(name, text, value):
    read = parse_value(RunConfig, name, text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text"),
    [("size", "x"), ("learning_rate", "fast"), ("normalize_obs", "2"), ("num_workers", "0"), ("sise", "8")],
)
def test_a_text_that_does_not_fit_its_field_is_refused_by_name(name, text):
    with pytest.raises(InputError, match=name):
        parse_value(RunConfig, name, text)


@pytest.mark.parametrize("values", [{"size": "8"}, {"seed": None}, {"do_dagger": 1}, {"learning_rate": 10**400}])
def test_a_json_value_that_does_not_fit_is_refused_by_name(values):
    with pytest.raises(InputError, match=next(iter(values))):
        from_json(RunConfig, values)
    assert from_json(RunConfig, {"learning_rate": 1, "of another version": 3}) == RunConfig(learning_rate=1)
