"""Recipes of environments: everything that is needed to make the same environment again.

A recipe is Gymnasium's `EnvSpec`: the name, the class, its keyword arguments, the time limit and the wrappers. Worker
processes, videos and a resumed run make their environments from it.
"""

from __future__ import annotations

import ast
import copy
import difflib
import importlib
import inspect
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, WrapperSpec, load_env_creator

from rl_il.envs.table import ENVS, env_row
from rl_il.errors import InputError
from rl_il.options import is_given, named_values, split_words, values_text
from rl_il.plugins import import_own, is_own, load_own

GIVEN_BY_COMMANDS = ("render_mode", "camera_name")  # how an environment draws is chosen by the command that draws


def make_recipe(env_name: str, env_kwargs: str | None = None, wrappers: str | None = None) -> EnvSpec:
    """Return the recipe of an environment. Import the module that defines it, but do not make it.

    Args:
      env_name: a name that Gymnasium knows; `module:Name-v0`, whose module registers the name; or `module:Name`, a
        class or function that returns the environment.
      env_kwargs: arguments of its constructor as text, such as `gravity=-4.0 enable_wind=true`.
      wrappers: wrappers as text, separated by spaces, the innermost first: `module:Name` or
        `module:Name(name=value)`.

    Raise `InputError` if there is no such environment, argument or wrapper.
    """
    spec = copy.deepcopy(_find_spec(env_name))
    kwargs = named_values("--env_kwargs", env_kwargs or "")
    if kwargs:
        _check_kwargs(env_name, spec, kwargs)
        spec.kwargs |= kwargs
    spec.additional_wrappers += tuple(map(_read_wrapper, split_words("--wrappers", wrappers or "")))
    return spec


def _read_wrapper(text: str) -> WrapperSpec:
    """Return the wrapper that a text such as `gymnasium.wrappers:RescaleAction(min_action=-1,max_action=1)` names."""
    try:
        path, _, arguments = text.partition("(")
        call = ast.parse(f"wrapper({arguments}" if arguments else "wrapper()", mode="eval").body
        kwargs = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
        if not is_own(path) or call.args:
            raise ValueError
    except (ValueError, SyntaxError):
        raise InputError(
            f"--wrappers {text}: must be module:Name or module:Name(name=value,...), a class or function that takes"
            " the environment as `env`"
        ) from None
    load_own(path)
    return WrapperSpec(path.rpartition(":")[2], path, kwargs)


def _wrapper_text(wrapper: WrapperSpec) -> str:
    """Return the text from which `_read_wrapper` makes this wrapper."""
    arguments = ",".join(f"{name}={value!r}" for name, value in wrapper.kwargs.items())
    return f"{wrapper.entry_point}({arguments})" if arguments else wrapper.entry_point


def recipe_of(env: gym.Env) -> EnvSpec:
    """Return the recipe of an environment, without its way of drawing. Raise `InputError` if it has no whole one."""
    if env.spec is None:
        name, module = type(env.unwrapped).__name__, type(env.unwrapped).__module__
        module, move = ("my_env", "move its class into a module, and ") if module == "__main__" else (module, "")
        raise InputError(
            f"{name} cannot be made again, since it was not made by gymnasium.make; {move}name it {module}:{name}"
        )
    lost = [wrapper.name for wrapper in env.spec.additional_wrappers if wrapper.kwargs is None]
    if lost:
        raise InputError(
            f"{env.spec.id} cannot be made again, since its wrapper {lost[0]} does not record its arguments; derive"
            " it from gymnasium.utils.RecordConstructorArgs too, or name it in `wrappers`"
        )
    kwargs = {name: value for name, value in env.spec.kwargs.items() if name not in GIVEN_BY_COMMANDS}
    return replace(env.spec, kwargs=kwargs)


def describe_recipe(spec: EnvSpec) -> tuple[str, str | None, str | None] | None:
    """Return the arguments of `make_recipe` that give this recipe in another process, or None if there are none."""
    name = spec.id
    if ":" not in name and not _is_gymnasiums(name):
        name = f"{_module_of(spec.entry_point)}:{name}"  # the module may register it
    try:
        plain = make_recipe(name)
        kwargs = {key: value for key, value in spec.kwargs.items() if repr(plain.kwargs.get(key)) != repr(value)}
        added = spec.additional_wrappers[len(plain.additional_wrappers) :]
        words = values_text(kwargs), shlex.join(map(_wrapper_text, added)) or None
        return (name, *words) if _content(make_recipe(name, *words)) == _content(spec) else None
    except InputError:
        return None


def _is_gymnasiums(name: str) -> bool:
    """Return whether Gymnasium itself registers the name, so that any process knows it."""
    return name in ENVS or f'"{name}"' in Path(gym.envs.__file__).read_text(encoding="utf-8")


def _content(spec: EnvSpec) -> str:
    """Return what decides how the environment behaves, as text. (Arrays are not compared by ==.)"""
    names = ("entry_point", "max_episode_steps", "order_enforce", "kwargs", "additional_wrappers")
    return repr([getattr(spec, name) for name in names])


def _find_spec(env_name: str) -> EnvSpec:
    """Return what Gymnasium knows about the name, with the full name as its id, or a recipe of the user's class."""
    if is_given(env_name):
        raise InputError(f"{env_name}: a program gave this environment to the run; give --env_name, or use Python")
    module, _, name = env_name.rpartition(":")
    if module:
        own = import_own(env_name)
        if name in gym.registry:
            return _named(gym.registry[name], env_name)
        if callable(getattr(own, name, None)):
            return EnvSpec(env_name, entry_point=env_name)
        registered = [key for key, spec in gym.registry.items() if _module_of(spec.entry_point) == module]
        has = f"it registers {', '.join(registered)}" if registered else "it registers no environment"
        raise InputError(f"{env_name}: the module {module} neither registers nor contains {name}; {has}")
    _import_package(env_name)
    if env_name in gym.registry and _has_moved(gym.registry[env_name]):
        raise InputError(f"{env_name} has moved to the package gymnasium-robotics; {_hint(env_name)}")
    if env_name in gym.registry:
        return gym.registry[env_name]
    raise InputError(f"unknown environment {env_name!r}; {_hint(env_name)}")


def _import_package(env_name: str) -> None:
    """Import the package that registers the environment, if its row in `ENVS` names one."""
    module, command = env_row(env_name).package or (None, None)
    try:
        if module:
            importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{env_name} needs the package {module} ({error}); `{command}` installs it") from error


def _module_of(entry_point: Any) -> str:
    """Return the module of a class, or of what a text `module:Name` names."""
    text = isinstance(entry_point, str)
    return entry_point.partition(":")[0] if text else getattr(entry_point, "__module__", "")


def _named(spec: EnvSpec, env_name: str) -> EnvSpec:
    """Return the recipe with `module:Name-v0` as its id, so that the module is imported wherever the id is used."""
    try:
        return replace(spec, id=env_name)
    except gym.error.Error:  # Gymnasium allows no dot in a namespace
        return spec


def _hint(env_name: str) -> str:
    """Return what to give instead of an unknown name: another version of it, a similar name, or the table."""
    versions = other_versions(env_name)
    if versions:
        return f"Gymnasium {gym.__version__} has {', '.join(versions)}"
    near = difflib.get_close_matches(env_name, sorted({*ENVS, *gym.registry}), n=3, cutoff=0.5)
    hint = f"similar names: {', '.join(near)}" if near else f"the environments of this package: {', '.join(ENVS)}"
    return f"{hint}; for an environment of your own, give module:NAME"


def other_versions(env_name: str) -> list[str]:
    """Return the other versions of the environment that Gymnasium itself can make, the newest first."""
    base = re.sub(r"-v\d+$", "", env_name)
    same = [spec for spec in gym.registry.values() if re.sub(r"-v\d+$", "", spec.id) == base and spec.id != env_name]
    same = [spec for spec in same if not _has_moved(spec)]
    return [spec.id for spec in sorted(same, key=lambda spec: spec.version or 0, reverse=True)]


def _has_moved(spec: EnvSpec) -> bool:
    """Return whether Gymnasium keeps only the name, with a function that says where the environment is now."""
    return getattr(spec.entry_point, "__module__", "") == "gymnasium.envs"


def _check_kwargs(env_name: str, spec: EnvSpec, kwargs: Mapping[str, Any]) -> None:
    """Raise `InputError` if the constructor does not take one of the arguments, or takes another type of it."""
    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    parameters = inspect.signature(creator).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name, value in kwargs.items():
        if name in GIVEN_BY_COMMANDS:
            raise InputError(f"--env_kwargs {name}: the command that draws chooses it; drop it")
        if name not in parameters and not takes_any:
            known = [parameter for parameter in parameters if parameter not in GIVEN_BY_COMMANDS]
            takes = f"only {', '.join(known)}" if known else "no arguments"
            raise InputError(f"--env_kwargs {name}: {env_name} takes {takes}")
        default = parameters[name].default if name in parameters else None
        if _kind(default) not in (None, _kind(value)):
            raise InputError(f"--env_kwargs {name}: must be {_kind(default)}, got {value!r}")


def _kind(value: Any) -> str | None:
    """Return the kind of an argument in words, or None if it is not a number, a text, true or false."""
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, (int, float)) else "a text" if isinstance(value, str) else None
