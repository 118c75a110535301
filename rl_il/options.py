"""A frozen dataclass is a command line and a JSON object: its fields are the flags, their help texts, the keys."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import os
import typing
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, TypeVar

from rl_il.errors import InputError

KINDS = {int: "an integer", float: "a number", str: "a text"}
Config = TypeVar("Config")


def option(
    default: Any,
    help: str,
    short: str | None = None,
    choices: tuple | None = None,
    parse: Callable[[str], Any] | None = None,
) -> Any:
    """A config field: the sentence `help` is its documentation and its `--help`; `parse` reads the flag's text."""
    return field(default=default, metadata={"help": help, "short": short, "choices": choices, "parse": parse})


def positive_integer(text: str) -> int:
    """An argparse type: an integer above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


def worker_count(text: str) -> int:
    """An argparse type: an integer above 0, or `auto` for as many as there are cores to run on."""
    if text == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        return positive_integer(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of processes or auto, got {text!r}") from None


def add_arguments(parser: argparse.ArgumentParser, config_class: type, without: Sequence[str] = ()) -> None:
    """Adds one flag for each field of the dataclass made with `option`, except those named in `without`."""
    types = typing.get_type_hints(config_class)
    for item in dataclasses.fields(config_class):
        if item.name in without:
            continue
        names = [f"--{item.name}"]
        if item.metadata["short"]:
            names.append(f"-{item.metadata['short']}")
        settings: dict[str, Any] = {"default": item.default, "help": item.metadata["help"].replace("%", "%%")}
        if types[item.name] is bool:
            settings["action"] = "store_true"
        else:
            value_type = _value_type(types[item.name])
            settings["metavar"] = value_type.__name__.upper()
            settings["type"] = item.metadata["parse"] or value_type
            if item.metadata["choices"]:
                settings["choices"] = item.metadata["choices"]
                del settings["metavar"]
            if item.default is not None:
                settings["help"] += " (default: %(default)s)"
        parser.add_argument(*names, **settings)


def _value_type(annotation: Any) -> type:
    """The one of int, float and str that a field holds if it holds anything."""
    (value_type,) = {*typing.get_args(annotation), annotation} & {int, float, str}
    return value_type


def parse_value(config_class: type, name: str, text: str) -> Any:
    """The value that `text` means for the field; `true` and `false` for a switch, `none` for nothing.

    Raises `InputError` for a field that there isn't, and for a text that it cannot hold.
    """
    fields = {item.name: item for item in dataclasses.fields(config_class)}
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(fields)}"
        raise InputError(f"no setting is called {name!r}; {hint}")
    annotation = typing.get_type_hints(config_class)[name]
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
        raise InputError(f"{name} must be {expected}, got {text!r}") from None


def from_arguments(config_class: type[Config], arguments: argparse.Namespace) -> Config:
    """The dataclass that the parsed flags describe; raises `InputError` where they contradict each other."""
    names = [item.name for item in dataclasses.fields(config_class)]
    return config_class(**{name: getattr(arguments, name) for name in names if hasattr(arguments, name)})


@functools.cache
def _types(config_class: type) -> dict[str, Any]:
    return typing.get_type_hints(config_class)


def from_json(config_class: type[Config], values: dict[str, Any]) -> Config:
    """The dataclass that a config.json holds, of which other versions may know more fields.

    Raises `InputError` for values of other types, and where they contradict each other.
    """
    types = _types(config_class)
    known = {name: value for name, value in values.items() if name in types}
    for name, value in known.items():
        kinds = typing.get_args(types[name]) or (types[name],)
        if type(value) not in kinds and not (type(value) is int and float in kinds):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise InputError(f"{name} must be {expected}, got {type(value).__name__}")
        if type(value) is int and float in kinds and abs(value) > 2**1000:
            raise InputError(f"{name} must be a number that a float holds, got {value.bit_length()} bits")
    return config_class(**known)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the examples' line breaks and gives long flags room."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=34, width=110)
