"""Objects that a program gives to a run: its environment, expert, policy or rule."""

from __future__ import annotations

import dataclasses
import pickle
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from rl_il.config import ENV, RunConfig
from rl_il.envs import describe_recipe, name_of, recipe_of
from rl_il.errors import RAISED, InputError, is_interruption
from rl_il.infrastructure.dagger import Rule
from rl_il.options import GIVEN, is_given
from rl_il.plugins import is_own, load_own
from rl_il.policies.base_policy import OPTIONS, BasePolicy

if TYPE_CHECKING:  # it imports torch
    from rl_il.policies.mlp_policy import MLPPolicySL


PLAIN = (bool, int, float, str, type(None))  # attributes that are shown as they are


@dataclass(frozen=True)
class Given:
    """The objects that a program gives to a run, instead of names in the config."""

    env: gym.Env | None = None
    expert: Any = None  # as `own_actor` takes it
    policy: MLPPolicySL | None = None
    rule: Rule | None = None

    def __post_init__(self) -> None:
        kinds = {"env": gym.Env, "rule": Rule, "policy": BasePolicy}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise InputError(f"{name} must be a {kind.__name__}, got {value!r:.100}; name others in the config")

    def name_in(self, config: RunConfig) -> RunConfig:
        """Return the config with the names of the objects, and with the settings of the policy.

        If a command could not make an object again from its name, the name says that it is from Python.
        """
        changes: dict[str, Any] = {}
        if self.env is not None:
            names = _names_of(self.env)
            if not {config.env_kwargs, config.wrappers} <= {None, *names}:
                raise InputError("env_kwargs and wrappers do not change the given env; make it with them")
            changes |= dict(zip(ENV, names, strict=True))
        if self.expert is not None:
            changes["expert_policy_file"] = _name_of(self.expert)
        if self.rule is not None:
            changes["rule"] = _described(self.rule)
        if self.policy is not None:
            fields = {item.name for item in dataclasses.fields(config)} - {"seed"}
            own = OPTIONS | self.policy.hyperparameters() | {"head": self.policy.head_name}
            changes |= {name: value for name, value in own.items() if name in fields}
            changes["policy_class"] = type(self.policy).__name__ + GIVEN
        return dataclasses.replace(config, **changes)

    def check_same(self, config: RunConfig) -> None:
        """Raise `InputError` if these are not the objects that the run of the config began with, or not all."""
        missing = [name for name in given_in(config) if getattr(self, name) is None]
        if missing:
            raise InputError(
                f"the run was started from Python with its own {', '.join(missing)}; continue it there, with"
                f" {resume_call('FOLDER', config)}"
            )
        named = self.name_in(config)
        for item in dataclasses.fields(config):
            if getattr(named, item.name) != (before := getattr(config, item.name)):
                raise InputError(f"the run was started with {item.name} {before}, got {getattr(named, item.name)}")


NOTHING_GIVEN = Given()


def given_in(config: RunConfig) -> list[str]:
    """Return the names of the fields of `Given` with the objects that only a program can make again."""
    names = {"env": "env_name", "expert": "expert_policy_file", "policy": "policy_class", "rule": "rule"}
    return [name for name, field in names.items() if is_given(getattr(config, field, None))]


def resume_call(folder: str, config: RunConfig) -> str:
    """Return the Python call that continues a run to which a program gave objects."""
    arguments = ", ".join([repr(folder), *(f"{name}=..." for name in given_in(config))])
    return f"rl_il.runs.experiment.resume({arguments})"


def _names_of(env: gym.Env) -> tuple[str, str | None, str | None]:
    """Return the values of `config.ENV` from which the environment can be made again, or a name that cannot."""
    try:
        described = describe_recipe(recipe_of(env))
    except InputError:
        described = None
    return described or (name_of(env) + GIVEN, None, None)


def _name_of(expert: Any) -> str:
    """Return `module:Name` of a class or function that another process can import, or a name that says it cannot."""
    name = f"{getattr(expert, '__module__', None)}:{getattr(expert, '__qualname__', '')}"
    if is_own(name) and not name.startswith("__main__:") and load_own(name) is expert:
        return name
    return _described(expert)


def _described(value: Any) -> str:
    """Return the name of a function or of an object's class, with its attributes, and that it is from Python.

    Objects that act differently have different names, so that their runs are not taken for seeds of one setting.
    """
    if hasattr(value, "__code__"):
        return f"{value.__qualname__}({_mark(value)}){GIVEN}"
    attributes = {name: each for name, each in getattr(value, "__dict__", {}).items() if name[0] != "_"}
    texts = [f"{name}={each if isinstance(each, PLAIN) else _mark(each)}" for name, each in attributes.items()]
    return f"{type(value).__name__}({', '.join(texts)}){GIVEN}"


def _mark(value: Any) -> str:
    """Return a short checksum of a value, or of the code of a function."""
    if hasattr(value, "__code__"):
        cells = [_mark(cell.cell_contents) for cell in value.__closure__ or ()]
        value = (value.__code__.co_code, value.__code__.co_names, repr(value.__code__.co_consts), cells)
    try:
        content = pickle.dumps(value)
    except RAISED as error:  # of the user's classes
        if is_interruption(error):
            raise
        content = repr(value).encode()
    return f"{zlib.crc32(re.sub(rb'0x[0-9a-f]+', b'', content)):08x}"  # without addresses in memory
