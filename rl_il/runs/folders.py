"""Creating and recognising run folders, and reading their settings, without torch."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import data_folder, make_folder_of, safe_name
from rl_il.finetune_config import FinetuneConfig
from rl_il.options import from_json

FOLDERS = {"BC": ("q1", "bc"), "DAgger": ("q2", "dagger"), "PPO": ("rl", "ppo")}
"""The beginning of the names of run folders, and the next word without `exp_name`, by the algorithm."""
AnyConfig = RunConfig | FinetuneConfig


def make_run_folder(config: AnyConfig) -> Path:
    """Create the folder `logdir`, or a new `q1_...` (BC), `q2_...` (DAgger) or `rl_...` with a name and the time."""
    prefix, name = FOLDERS[config.algorithm]
    return _make_folder(f"{prefix}_{config.exp_name or name}_{config.env_name}", config.logdir)


def make_teach_folder(env_name: str, logdir: str | None) -> Path:
    """Create the folder `logdir`, or a new `teach_...` with the environment's name and the time."""
    return _make_folder(f"teach_{env_name}", logdir)


def _make_folder(name: str, logdir: str | None) -> Path:
    """Create the folder `logdir`, or a new folder in `data_folder()` with this name and the time."""
    if logdir:
        return new_folder(Path(logdir), numbered=False)
    name = safe_name(f"{name}_{time.strftime('%d-%m-%Y_%H-%M-%S')}")
    return new_folder(data_folder() / name, numbered=True)


def new_folder(path: Path, numbered: bool) -> Path:
    """Create and return the folder `path`. If it exists and `numbered` is true, append _2, _3, ... to its name.

    Without `numbered`, an empty folder is used as it is. Raise `InputError` if it is not empty or cannot be created.
    """
    count = 1
    while True:
        folder = path if count == 1 else path.with_name(f"{path.name}_{count}")
        try:
            make_folder_of(folder)
            folder.mkdir()
            return folder
        except FileExistsError as error:
            if not numbered:
                if folder.is_dir() and not any(folder.iterdir()):
                    return folder
                raise InputError(f"--logdir {folder}: must be new or empty; choose another") from error
            if not folder.exists():  # one of its parents is a file
                raise InputError(f"{folder}: cannot be created ({error.strerror})") from error
            count += 1
        except OSError as error:
            raise InputError(f"{folder}: cannot be created ({error.strerror})") from error


def is_finished(folder: Path) -> bool:
    """Return whether the folder holds a finished run. (The summary is written last.)"""
    try:
        return json.loads((folder / "summary.json").read_text(encoding="utf-8"))["status"] == "finished"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def read_config(folder: Path) -> AnyConfig:
    """Return the config of the run in this folder. Raise `InputError` if config.json is missing or damaged."""
    config = read_record(folder).get("config")
    try:
        if not isinstance(config, dict):
            raise InputError(f"holds no config; maybe {folder} is not a run folder")
        return config_of(config)
    except InputError as error:
        raise InputError(f"{folder / 'config.json'}: {error}") from error


def config_of(values: dict[str, Any]) -> AnyConfig:
    """Return the settings that a file holds. Raise `InputError` if a value has the wrong type."""
    # Only runs of finetune.py have this setting, and config.json of earlier runs names no kind.
    return from_json(FinetuneConfig if "total_timesteps" in values else RunConfig, values)


def read_record(folder: Path) -> dict[str, Any]:
    """Return all that config.json holds. Raise `InputError` if it is missing or damaged."""
    path = folder / "config.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("expected a JSON object")
        return record
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read ({why}); maybe {folder} is not a run folder") from error
