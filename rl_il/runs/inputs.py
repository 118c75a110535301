"""The files that a run reads, with their checksums: a run whose inputs were changed is not continued unnoticed.

config.json lists them from the start: the expert with its normaliser, the demonstrations, and the source files of the
user's own modules. checkpoint/settings.json is a copy of the settings and of this list, with which a run is compared:
so an edit of config.json is noticed too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_row
from rl_il.errors import InputError
from rl_il.experts.loading import SCRIPTED_EXPERTS, find_file, normaliser_of
from rl_il.options import is_given
from rl_il.plugins import AUGMENTATIONS, find, is_own
from rl_il.runs.checkpoint import FOLDER, checksum
from rl_il.runs.folders import config_of
from rl_il.runs.own_modules import folder_of, own_modules
from rl_il.types import Trajectory

SETTINGS = f"{FOLDER}/settings.json"
DATA, EXPERT, NORMALISER, MODULE = "expert_data", "expert_policy_file", "normaliser", "module"
POLICY = "policy"  # of `FinetuneConfig`
WITHOUT_EFFECT = "num_workers logdir exp_name save_params tracker log_interval".split()  # on what a run computes


@dataclass(frozen=True)
class Input:
    """Something that a run reads, as config.json lists it."""

    setting: str  # `expert_policy_file`, `expert_data`, or `normaliser` and `module` for what comes with another
    given: str | None  # what the user wrote, or the module's name; None: what is included for the environment
    file: str | None  # an absolute path; None: what the user's own function returned
    sha256: str

    @property
    def name(self) -> str:
        """Return its name in messages."""
        return self.file or str(self.given)

    def find(self, config: RunConfig) -> Path | None:
        """Return where the file is now. If it was moved: where `given` leads to from the working folder.

        Return None if it is not found by a path: what a function returned, what the Hugging Face hub or the expert
        brings.
        """
        if self.file is None or Path(self.file).exists():
            return self.file and Path(self.file)
        if self.setting == MODULE:
            return Path.cwd() / Path(self.file).relative_to(folder_of(self.given, Path(self.file)))
        if self.setting == NORMALISER or (self.given or "").startswith("hf:"):
            return None
        return Path(self.given or included(config, self.setting) or self.file)


def included(config: RunConfig, setting: str) -> str | Path | None:
    """Return the expert or the demonstrations that are included for the environment, or None."""
    row = env_row(config.env_name)
    return row.expert_path if setting == EXPERT else row.demos_path


def read_inputs(config: RunConfig, demonstrations: Sequence[Trajectory], written: RunConfig) -> list[Input]:
    """Return what a run with this config reads, with the checksums of now.

    Args:
      config: the settings, with the paths that are read.
      demonstrations: what `config.expert_data` was read as.
      written: the settings as the user wrote them.
    """
    files = [(setting, written.expert_policy_file, path) for setting, path in expert_files(config)]
    if not is_own(config.expert_data):
        files.append((DATA, written.expert_data, Path(config.expert_data or included(config, DATA))))
    for name in filter(is_own, config.augmentations()):  # all others have been imported
        find("augmentation", AUGMENTATIONS, name)
    found = listed(files, config)
    if is_own(config.expert_data):
        found.append(Input(DATA, config.expert_data, None, checksum_of(demonstrations)))
    return found


def listed(files: Sequence[tuple[str, str | None, Path]], config: RunConfig) -> list[Input]:
    """Return the files, given as setting, what the user wrote and path, and the user's modules, with checksums."""
    texts = [value for value in vars(config).values() if isinstance(value, str)]
    named = {name for text in texts for name in re.findall(r"([\w.]+):\w", text)}  # `my_env` in `my_env:Reach-v0`
    modules = [(MODULE, name, path) for name, path in own_modules(named).items()]
    return [
        Input(setting, given, os.path.abspath(path), checksum(path)) for setting, given, path in (*files, *modules)
    ]


def checksum_of(trajectories: Sequence[Trajectory]) -> str:
    """Return the SHA-256 of the observations and labels of demonstrations, as text."""
    found = hashlib.sha256()
    for trajectory in trajectories:
        for array in (trajectory.obs, trajectory.labels, trajectory.labelled_steps):
            found.update(f"{array.dtype}{array.shape}".encode())
            found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def expert_files(config: RunConfig) -> Iterator[tuple[str, Path]]:
    """Yield the expert's file, if it is one, and that of its normaliser, if it has one."""
    name = config.expert_policy_file
    if name in (None, "expert"):
        name = included(config, EXPERT)
    if name in (None, "random", *SCRIPTED_EXPERTS) or is_own(name) or is_given(name):
        return
    path = find_file(name, with_normaliser=False)
    yield EXPERT, path
    normaliser = None if config.no_normalizer else normaliser_of(path, config.env_name.rpartition(":")[2])
    if normaliser is not None:
        yield NORMALISER, normaliser


# What was changed -------------------------------------------------------------------------------------------


def recorded_start(folder: Path, record: dict[str, Any]) -> tuple[RunConfig | None, list[Input], list[str]]:
    """Return the settings and the inputs with which a run was started, and what was changed in their two copies.

    `record` is what config.json holds. An earlier version kept no copy of the settings, which are then None.
    """
    path, listed = folder / SETTINGS, _listed_inputs(record, folder / "config.json")
    if "inputs" not in record:
        return None, listed, []
    try:
        start = json.loads(path.read_text(encoding="utf-8"))
        config, inputs = config_of(start["config"]), [Input(**item) for item in start["inputs"]]
    except (OSError, ValueError, LookupError, TypeError):
        return None, listed, [f"{path} is missing or damaged"]
    return config, inputs, [f"{item.name} is not in config.json as it was" for item in inputs if item not in listed]


def _listed_inputs(record: dict[str, Any], path: Path) -> list[Input]:
    """Return the inputs that a run's config.json lists. An earlier version listed only the demonstrations."""
    try:
        if "inputs" in record:
            return [Input(**item) for item in record["inputs"]]
        old, given = record["data"]["demonstrations"], record["config"].get(DATA)
        return [Input(DATA, given, None if is_own(old["file"]) else str(old["file"]), old["sha256"])]
    except (LookupError, TypeError) as error:
        raise InputError(f"{path}: lists no inputs; start the run again") from error


def located(config: RunConfig, recorded: Sequence[Input]) -> RunConfig:
    """Return the config with the recorded paths, so that it can be used in another working folder than the run's.

    For the same reason, put the folders of the user's modules first on the search path.
    """
    changes, folders = {}, [os.getcwd()]  # which plug-ins put first, if it is not there yet
    for item in recorded:
        path = item.find(config)
        if path is not None and item.setting == MODULE:
            folders.append(str(folder_of(item.given, path)))
        elif (
            path is not None
            and item.setting in (DATA, EXPERT, POLICY)
            and item.given
            and not item.given.startswith("hf:")
        ):
            changes[item.setting] = str(path)
    for folder in dict.fromkeys(folders):
        sys.path[:] = [folder, *(other for other in sys.path if other != folder)]
    return replace(config, **changes)


def changed_settings(before: RunConfig | None, now: RunConfig) -> Iterator[str]:
    """Yield a description of each setting that was changed and has an effect on the result."""
    for item in dataclasses.fields(now) if before else ():
        old, new = getattr(before, item.name), getattr(now, item.name)
        if old != new and item.name not in WITHOUT_EFFECT:
            yield f"--{item.name} was {old} and is {new}"


def changed_files(recorded: Sequence[Input], config: RunConfig) -> Iterator[str]:
    """Yield a description of each recorded file that is missing or has another checksum, before any is used."""
    for item in recorded:
        path = item.find(config)
        if path is None:
            continue
        try:
            if not path.exists():
                yield f"{item.file} is missing"
            elif checksum(path) != item.sha256:
                yield f"{path} was changed"
        except OSError as error:
            yield f"{path} cannot be read any more ({error.strerror})"


def changed_inputs(recorded: Sequence[Input], now: Sequence[Input]) -> Iterator[str]:
    """Yield a description of each input that was read with another checksum than the recorded one."""
    modules = {item.given: item for item in now if item.setting == MODULE}
    pairs = [(item, modules.get(item.given, item)) for item in recorded if item.setting == MODULE]
    for setting in {item.setting for item in recorded} - {MODULE}:
        pairs += zip_longest(*([item for item in items if item.setting == setting] for items in (recorded, now)))
    for old, new in pairs:
        if new is None:
            yield f"{old.name} is not read any more"
        elif old is None:
            yield f"{new.file} is read, and was not there"
        elif old.sha256 != new.sha256:
            yield f"{new.file} was changed" if new.file else f"{new.given} returned other demonstrations"


def check_unchanged(folder: Path, changes: Sequence[str], accept: bool) -> None:
    """Raise `InputError` if there are changes since the run was started, unless they are accepted."""
    if changes and not accept:
        raise InputError(
            f"{folder}: since this run was started, {', '.join(changes)}; restore what it was, give --accept_changes"
            " to go on with what there is now, or start the run again"
        )


def with_accepted(
    record: dict[str, Any], config: RunConfig, inputs: Sequence[Input], changes: Sequence[str], gradient_steps: int
) -> dict[str, Any]:
    """Return the content of config.json after the user accepted the changes, which were made after these steps."""
    accepted = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "gradient_steps": gradient_steps, "changes": [*changes]}
    return record | {
        "config": dataclasses.asdict(config),
        "inputs": [dataclasses.asdict(item) for item in inputs],
        "accepted_changes": [*record.get("accepted_changes", []), accepted],
    }
