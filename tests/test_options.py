import argparse
import ast
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from calling import SCRIPTS, call_script
from fakes import walk
from test_config import parse, same

from rl_il.config import RunConfig
from rl_il.datasets import save_trajectories
from rl_il.errors import InputError
from rl_il.options import (
    GIVEN,
    CommandParser,
    add_arguments,
    check_choices,
    expand_paths,
    from_arguments,
    from_json,
    named_path,
    named_values,
    option,
    parse_value,
    path,
    positive_integer,
    same_option,
    split_words,
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
class Open:
    rule: str = option("a", "a rule", choices=("a", "b"), own=True)
    extra: str | None = option(None, "some words", words=True)


def test_an_own_name_is_accepted_next_to_the_choices(capsys):
    for name in ("b", "my_rules:Sparse"):
        assert parse("--rule", name, config_class=Open).rule == name
        check_choices(Open(rule=name))
    check_choices(Open(rule=f"Sparse{GIVEN}"))
    with pytest.raises(SystemExit):
        parse("--rule", "c", config_class=Open)
    assert "a, b" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"--rule.*a, b.*'c'"):
        check_choices(Open(rule="c"))


def test_the_words_of_a_flag_are_one_text_that_keeps_their_spaces():
    words = ["x=1", "name=big moon"]
    text = parse("--extra", *words, config_class=Open).extra
    assert split_words("--extra", text) == words


def test_a_field_can_be_like_the_one_of_another_class():
    @dataclass(frozen=True)
    class Other:
        rule: str = same_option(Open, "rule")

    assert Other().rule == "a"
    assert parse("--rule", "b", config_class=Other).rule == "b"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("gravity=-4.0 n=3 wind=true still=False", {"gravity": -4.0, "n": 3, "wind": True, "still": False}),
        ("none=none sizes=[1,2] name=moon", {"none": None, "sizes": [1, 2], "name": "moon"}),
        ("'name=big moon' path=a=b", {"name": "big moon", "path": "a=b"}),
    ],
)
def test_values_have_names_and_types(text, values):
    assert same(named_values("--x", text), values)
    assert [*map(type, named_values("--x", text).values())] == [*map(type, values.values())]


@pytest.mark.parametrize("text", ["gravity", "=3", "2=3", "a=1 a=2", "'a=1", "a b=1"])
def test_values_without_a_name_are_refused(text):
    with pytest.raises(InputError, match="--x"):
        named_values("--x", text)


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
        ("--lrr 3", "-lr"),
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


# Paths ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a folder that is the user's home folder in one test."""
    for name in ("HOME", "USERPROFILE"):  # on Linux and macOS; on Windows
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_the_home_folder_stands_for_a_tilde_at_the_beginning_only(home):
    assert path("~/a b/c.npz") == home / "a b" / "c.npz"
    assert path("~") == home
    for name in ("a/~/b", "hf:org/repo/~.zip", "my_expert:Pilot", "latest", "~nobody-of-this-name/x"):
        assert named_path(name) == name
        assert path(name) == Path(name)


@pytest.mark.parametrize("config_class", [RunConfig, TeachConfig])
def test_every_path_of_a_config_is_expanded_from_flags_json_and_python(home, config_class):
    names = {"RunConfig": "expert_data expert_policy_file logdir", "TeachConfig": "expert_policy_file logdir"}
    names, others = names[config_class.__name__].split(), {}
    if config_class is TeachConfig:
        others = {"teacher": "scripted"}
    expected = dict.fromkeys(names, str(home / "x"))
    flags = [word for name, value in others.items() for word in (f"--{name}", value)]
    flags += [f"--{name}=~/x" for name in names]
    made = {
        "flags": from_arguments(config_class, parse(*flags, config_class=config_class)),
        "json": from_json(config_class, dict.fromkeys(names, "~/x") | others),
        "python": config_class(**dict.fromkeys(names, "~/x"), **others),
        "a Path": config_class(**dict.fromkeys(names, Path("~/x")), **others),
        "replace": replace(config_class(**others), **dict.fromkeys(names, "~/x")),
    }
    assert {way: {name: getattr(config, name) for name in names} for way, config in made.items()} == dict.fromkeys(
        made, expected
    )


def test_only_fields_that_are_paths_are_expanded(home):
    @dataclass(frozen=True)
    class Tiny:
        place: str | None = option(None, "a path", path=True)
        word: str = option("~/word", "a text")

        def __post_init__(self):
            expand_paths(self)

    assert Tiny() == Tiny(None, "~/word")
    assert Tiny("~/x").place == str(home / "x")


def test_a_script_reads_and_writes_below_the_home_folder(home, monkeypatch, capsys):
    save_trajectories(home / "demos.npz", [walk(3)])
    status, _, _ = call_script("convert '~/demos.npz' '~/new/demos.csv' --to csv", monkeypatch, capsys)
    assert status == 0
    assert (home / "new" / "demos.csv").is_file()


def test_no_script_has_a_flag_that_is_a_path_without_expansion():
    """`type=Path` would take `~` for a folder of this name."""
    types = {}
    for script in SCRIPTS.glob("*.py"):
        for node in ast.walk(ast.parse(script.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "type":
                types.setdefault(ast.unparse(node.value), []).append(script.name)
    assert len(types["path"]) >= 10 and len(types["named_path"]) >= 3
    assert "Path" not in types
