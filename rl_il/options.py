"""Dataclasses of settings as flags of a command line and as JSON, and the parser of all scripts.

Each field of such a dataclass is one flag, with its help text, and one key of a JSON object.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import functools
import os
import shlex
import sys
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rl_il.commands import for_user
from rl_il.errors import InputError
from rl_il.limits import COUNTABLE
from rl_il.plugins import is_own

MAX_COUNT = 10**9  # of a flag that counts episodes, steps, runs or processes
KINDS = {int: "an integer", float: "a number", str: "a text"}
Config = TypeVar("Config")


def option(
    default: Any,
    help: str,
    short: str | None = None,
    choices: Collection[str] | None = None,
    parse: Callable[[str], Any] | None = None,
    group: str | None = None,
    own: bool = False,
    words: bool = False,
    path: bool = False,
    old: str | None = None,
) -> Any:
    """Return a field of a dataclass of settings.

    Args:
      default: the field's value if the flag is not given.
      help: the text of the flag in `--help`.
      short: a second name of the flag, written after a single dash. Two dashes are accepted too.
      choices: the values that the field may have, if there are only a few.
      parse: a function that converts the flag's text into the value. With None, the field's type converts it.
      group: the heading in `--help` above this flag and the following flags, up to the next field with a group.
      own: whether `module:Name`, something that the user wrote, is accepted as well as the `choices`.
      words: whether the flag takes several words. The field's value is one text with all of them.
      path: whether the value can be a path, which `expand_paths` expands.
      old: an earlier name of the field, which is accepted as a flag and in files.
    """
    names = {"help": help, "short": short, "choices": choices, "parse": parse, "group": group}
    return field(default=default, metadata=names | {"own": own, "words": words, "path": path, "old": old})


def same_option(config_class: type, name: str) -> Any:
    """Return a field like one of another dataclass of settings: with the same default, help text and values."""
    other = config_class.__dataclass_fields__[name]
    return field(default=other.default, metadata=other.metadata | {"group": None})


def check_choices(config: Any) -> None:
    """Raise `InputError` if a field of a dataclass of settings has none of the values that it may have."""
    for item in dataclasses.fields(config):
        value, choices = getattr(config, item.name), item.metadata["choices"]
        if not choices or value is None or value in choices:
            continue
        if not (item.metadata["own"] and (is_own(value) or is_given(value))):
            raise InputError(f"--{item.name} {_must_be(item)}, got {value!r:.100}")


def _must_be(item: dataclasses.Field) -> str:
    """Return which values the field may have, in words."""
    return f"must be one of {', '.join(item.metadata['choices'])}" + (
        ", or your own module:Name" * item.metadata["own"]
    )


GIVEN = " (from Python)"
"""The end of a setting's value that names an object given from Python, which no command can make again."""


def is_given(value: object) -> bool:
    """Return whether a setting's value names an object that was given from Python."""
    return isinstance(value, str) and value.endswith(GIVEN)


def named_path(text: str | os.PathLike) -> str:
    """Return the text with the user's home folder in place of a `~` at its beginning; names do not begin with it."""
    return os.path.expanduser(os.fspath(text))


def path(text: str) -> Path:
    """Return a flag's text as a path, with the user's home folder in place of a `~` at its beginning."""
    return Path(named_path(text))


def expand_paths(config: Any) -> None:
    """Expand `~` in the paths of a dataclass of settings. Its `__post_init__` calls this."""
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.metadata["path"] and value is not None:
            object.__setattr__(config, item.name, named_path(value))  # the dataclass is frozen


def positive_integer(text: str) -> int:
    """Return a flag's text as an integer above 0 and up to `MAX_COUNT`."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be an integer, got {text!r:.100}") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text:.100}")
    if value > MAX_COUNT:
        raise argparse.ArgumentTypeError(f"must be at most {MAX_COUNT:,}, got {text:.100}")
    return value


def named_values(flag: str, text: str) -> dict[str, Any]:
    """Return the values in a text such as `gravity=-4.0 enable_wind=true name=moon` by their names.

    A value is a Python literal (a number, a list), `true`, `false` or `none`, or else a text. Raise `InputError` if a
    word is not NAME=VALUE.
    """
    values: dict[str, Any] = {}
    for word in split_words(flag, text):
        name, equals, value = word.partition("=")
        if not (equals and name.isidentifier()) or name in values:
            raise InputError(f"{flag} {word}: must be NAME=VALUE, with each name once, such as gravity=-4.0")
        values[name] = _literal(value)
    return values


def seed_range(flag: str, text: str | None) -> range | None:
    """Return the seeds from start to stop, without stop, of a text such as `0:100`; None for None."""
    if text is None:
        return None
    start, _, stop = text.partition(":")
    seeds = range(int(start), int(stop)) if start.isdecimal() and stop.isdecimal() else range(0)
    if not seeds or seeds.stop > COUNTABLE:
        raise InputError(
            f"{flag} must be two integers, start:stop with start below stop, such as 0:100, got {text!r:.100}"
        )
    return seeds


def split_words(flag: str, text: str) -> list[str]:
    """Return the words of a flag's text, in which quotes keep spaces. Raise `InputError` if a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"{flag} {text}: {error}") from error


def values_text(values: Mapping[str, Any]) -> str | None:
    """Return the text from which `named_values` returns these values, or None if there are none."""
    words = (f"{name}={value if _literal(str(value)) == value else repr(value)}" for name, value in values.items())
    return shlex.join(words) or None


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def worker_count(text: str) -> int:
    """Return a flag's text as a number of processes. `auto` is the number of cores that this process may use."""
    if text == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        return positive_integer(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; or auto") from None


@functools.cache
def _types(config_class: type) -> dict[str, Any]:
    return typing.get_type_hints(config_class)


def add_arguments(parser: argparse.ArgumentParser, config_class: type, without: Sequence[str] = ()) -> None:
    """Add a flag for each field of the dataclass, except the fields named in `without`, under their headings."""
    types, group = _types(config_class), parser
    for item in dataclasses.fields(config_class):
        if item.metadata["group"]:
            group = parser.add_argument_group(item.metadata["group"])
        if item.name in without:
            continue
        names = [f"--{item.name}"]
        if item.metadata["short"]:
            names.append(f"-{item.metadata['short']}")
        if item.metadata["old"]:
            names.append(f"--{item.metadata['old']}")
        settings: dict[str, Any] = {"default": item.default, "help": item.metadata["help"].replace("%", "%%")}
        if types[item.name] is bool:
            settings["action"] = "store_true"
        else:
            value_type = _value_type(types[item.name])
            settings["metavar"] = value_type.__name__.upper()
            settings["type"] = _flag_type(item.metadata["parse"] or value_type, value_type)
            if item.metadata["own"]:
                settings |= {"metavar": "NAME", "type": functools.partial(_own_name, item)}
            elif item.metadata["choices"]:
                settings["choices"] = item.metadata["choices"]
                del settings["metavar"]
            if item.metadata["words"]:
                settings |= {"action": JoinWords, "nargs": "+", "metavar": "TEXT"}
        action = group.add_argument(*names, **settings)
        if item.metadata["short"]:  # else --lr would be read as an abbreviation of --lr_schedule
            parser._option_string_actions[f"--{item.metadata['short']}"] = action


class JoinWords(argparse.Action):
    """Store the words of a flag as one text, quoted so that `shlex.split` returns them."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        """Store the text."""
        setattr(namespace, self.dest, shlex.join(values))


def _own_name(item: dataclasses.Field, text: str) -> str:
    """Return a flag's text if it is one of the field's choices, or of the form `module:Name`."""
    if text not in item.metadata["choices"] and not is_own(text):
        raise argparse.ArgumentTypeError(f"{_must_be(item)}, got {text!r}")
    return text


def _flag_type(parse: Callable[[str], Any], value_type: type) -> Callable[[str], Any]:
    """Return `parse` with errors that argparse shows: it replaces the message of any other error."""

    def parse_flag(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {KINDS[value_type]}, got {text!r:.100}") from None

    return parse_flag


def _value_type(annotation: Any) -> type:
    """Return the type of a field's values that are not None: int, float or str."""
    (value_type,) = {*typing.get_args(annotation), annotation} & {int, float, str}
    return value_type


def parse_value(config_class: type, name: str, text: str) -> Any:
    """Return `text` as a value of the field. `true` and `false` are the values of a switch, and `none` is None.

    Raise `InputError` if there is no such field, or if the field cannot have this value.
    """
    fields = {item.name: item for item in dataclasses.fields(config_class)}
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=3)
        hint = f"similar names: {', '.join(near)}" if near else f"the settings are {', '.join(fields)}"
        raise InputError(f"there is no setting {name!r}; {hint}")
    annotation = _types(config_class)[name]
    words: dict[str, Any] = {"true": True, "false": False} if annotation is bool else {}
    if type(None) in typing.get_args(annotation):
        words["none"] = None
    if text.lower() in words:
        return words[text.lower()]
    try:
        if annotation is bool:
            raise ValueError
        return (fields[name].metadata["parse"] or _value_type(annotation))(text)
    except (ValueError, argparse.ArgumentTypeError):
        expected = "true or false" if annotation is bool else KINDS[_value_type(annotation)]
        raise InputError(f"{name} must be {expected}, got {text!r:.100}") from None


def from_arguments(config_class: type[Config], arguments: argparse.Namespace) -> Config:
    """Return the dataclass with the values of the parsed flags. Raise `InputError` if they contradict each other."""
    names = [item.name for item in dataclasses.fields(config_class)]
    return config_class(**{name: getattr(arguments, name) for name in names if hasattr(arguments, name)})


def from_json(config_class: type[Config], values: dict[str, Any]) -> Config:
    """Return the dataclass with the values of a JSON object. Keys without a field (of other versions) are ignored.

    Raise `InputError` if a value has the wrong type, or if values contradict each other.
    """
    renamed = {item.metadata["old"]: item.name for item in dataclasses.fields(config_class)}
    values = {renamed.get(name, name): value for name, value in values.items()}
    known = {name: value for name, value in values.items() if name in _types(config_class)}
    check_types(config_class, known)
    return config_class(**known)


def check_types(config_class: type, values: Mapping[str, Any]) -> None:
    """Raise `InputError` if a value does not have the type of its field. An integer is also a float."""
    types = _types(config_class)
    for name, value in values.items():
        kinds = typing.get_args(types[name]) or (types[name],)
        if type(value) not in kinds and not (type(value) is int and float in kinds):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise InputError(f"{name} must be {expected}, got {type(value).__name__} {value!r:.100}")
        if type(value) is int and float in kinds and abs(value) > 2**1000:
            raise InputError(f"{name} must fit into a float, got an integer of {value.bit_length()} bits")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """A help formatter that keeps the line breaks of examples, has room for long flags, and adds the defaults."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=34, width=110)

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        """Write the usage line. If there are many flags and all are optional, it does not repeat their list."""
        if len(actions) > 10 and not any(action.required for action in actions):
            usage = "%(prog)s [flags]"
        super().add_usage(usage, actions, groups, prefix)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help, action.default
        if not text or "(default" in text or isinstance(default, bool) or not isinstance(default, (int, float, str)):
            return text
        return text if default == argparse.SUPPRESS else f"{text} (default: %(default)s)"


class CommandParser(argparse.ArgumentParser):
    """The parser of a script's command line.

    `--help` shows the script's docstring, its flags and the examples. After a mistake in the command line, the script
    prints one line and ends with exit status 2. For an unknown flag, this line names the most similar flag.
    """

    def __init__(self, description: str | None, examples: str | None = None, **settings: Any):
        texts = {"prog": os.path.basename(sys.argv[0]), "description": description, "epilog": examples}
        super().__init__(**texts, formatter_class=HelpFormatter, **settings)

    def given(self, args: argparse.Namespace) -> list[str]:
        """Return the names of the flags in the command line that `args` was parsed from, also of default values."""
        nothing = argparse.Namespace(**dict.fromkeys(vars(args)))
        return [name for name, value in vars(self.parse_args(namespace=nothing)).items() if value is not None]

    def format_help(self) -> str:
        """Return the text of `--help`, with the commands as the user calls them."""
        return for_user(super().format_help())

    def set_default(self, flag: str, value: Any, help: str) -> None:
        """Change the default of a flag that was added already, and say what it is at the end of its help text."""
        action = self._option_string_actions[flag]
        action.default, action.help = value, f"{action.help} (default: {help})"

    def error(self, message: str) -> NoReturn:
        """Print the message, without the long usage text, and end the script."""
        start = "unrecognized arguments: "
        unknown = [word for word in message.removeprefix(start).split() if word.startswith("-")]
        if message.startswith(start) and unknown:
            flag = unknown[0].partition("=")[0]
            message = f"there is no {flag}; {self._hint(flag)}"
        self.exit(2, f"{self.prog}: error: {message}\n")

    def _hint(self, flag: str) -> str:
        flags = {name.lstrip("-"): name for name in self._option_string_actions}
        near = difflib.get_close_matches(flag.lstrip("-"), flags, n=1)
        return f"the most similar flag is {flags[near[0]]}" if near else "--help lists all flags"
