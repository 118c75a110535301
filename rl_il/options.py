"""Frozen dataclasses as command lines and JSON objects: a field is a flag with its help text, and a key."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import os
import typing
from collections.abc import Callable, Collection, Sequence
from dataclasses import field
from typing import Any, TypeVar

from rl_il.errors import InputError

KINDS = {int: "an integer", float: "a number", str: "a text"}
Config = TypeVar("Config")


def option(
    default: Any,
    help: str,
    short: str | None = None,
    choices: Collection[str] | None = None,
    parse: Callable[[str], Any] | None = None,
) -> Any:
    """Return a config field: `help` is its documentation and its `--help`; `parse` reads the flag's text."""
    return field(default=default, metadata={"help": help, "short": short, "choices": choices, "parse": parse})


def positive_integer(text: str) -> int:
    """Return the integer above 0 that a flag's text says."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


def worker_count(text: str) -> int:
    """Return the number of processes that a flag's text says; `auto` is one for each core this process may use."""
    if text == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        return positive_integer(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of processes or auto, got {text!r}") from None


@functools.cache
def _types(config_class: type) -> dict[str, Any]:
    return typing.get_type_hints(config_class)


def add_arguments(parser: argparse.ArgumentParser, config_class: type, without: Sequence[str] = ()) -> None:
    """Add one flag for each field of the dataclass made with `option`, except those named in `without`."""
    types = _types(config_class)
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
    """Return which of int, float and str a field holds if it holds anything."""
    (value_type,) = {*typing.get_args(annotation), annotation} & {int, float, str}
    return value_type


def parse_value(config_class: type, name: str, text: str) -> Any:
    """Return the value that `text` means for the field; a switch takes `true` and `false`, `none` is no value.

    Raise `InputError` for a field that does not exist, and for a text that the field cannot hold.
    """
    fields = {item.name: item for item in dataclasses.fields(config_class)}
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(fields)}"
        raise InputError(f"no setting is called {name!r}; {hint}")
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
        raise InputError(f"{name} must be {expected}, got {text!r}") from None


def from_arguments(config_class: type[Config], arguments: argparse.Namespace) -> Config:
    """Return the dataclass that the parsed flags describe. Raise `InputError` where they contradict each other."""
    names = [item.name for item in dataclasses.fields(config_class)]
    return config_class(**{name: getattr(arguments, name) for name in names if hasattr(arguments, name)})


def from_json(config_class: type[Config], values: dict[str, Any]) -> Config:
    """Return the dataclass that a config.json holds. Fields of other versions, unknown here, are ignored.

    Raise `InputError` for values of other types, and where they contradict each other.
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
    """A help formatter that keeps the examples' line breaks and gives long flags room."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=34, width=110)
