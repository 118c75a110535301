"""The normaliser of a Stable-Baselines3 policy: where its file lies, what it does, and whether there should be one.

A policy that was trained with `VecNormalize` reads standardised observations. Its zip does not hold their mean and
variance, which lie in a second file, which is read with `load_pickle`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.datasets.pickles import load_pickle
from rl_il.errors import InputError
from rl_il.files import one_line, reading

NAMES = ("vecnormalize.pkl", "vec_normalize.pkl")  # in Stable-Baselines3's zoo, and on the Hugging Face hub
SETTINGS = ("config.yml", "args.yml")  # the zoo's settings of a training
MODULES = (
    "stable_baselines3.common.vec_env.vec_normalize",
    "stable_baselines3.common.running_mean_std",
    *(f"{gym}.spaces.{space}" for gym in ("gymnasium", "gym") for space in ("box", "discrete", "space")),
    "numpy.random._pickle",
    "numpy.random._pcg64",
    "numpy.random._mt19937",
    "numpy.random.bit_generator",
)
CHECKPOINT = re.compile(r"(.+)_(\d+)_steps")  # the name that SB3's CheckpointCallback gives a zip
# The setting and its value: `normalize: true`, or two items of a list, which is how PyYAML writes an OrderedDict.
NORMALIZE = re.compile(
    r"^[ \t-]*['\"]?normalize['\"]?[ \t]*(?::|\n[ \t]*-)[ \t]*((?:.+\n?)(?:[ \t]+[^\s-].*\n?)*)", re.M
)


def find_normaliser(path: Path, env_name: str) -> dict[str, Any]:
    """Return how the observations of the policy in the zip `path` were normalised, as arguments of `NumpyActor`.

    Print the file that is used, or that none was found. Return an empty dict if no file is found. Raise `InputError`
    if there must be one, or if the file that is found cannot be read.
    """
    folders, found = _folders(path, env_name), locate(path, env_name)
    if found:
        changes = _read(found)
        what = "normalised as in" if changes else "not normalised, according to"
        print(f"note: {path}: its observations are {what} {found}", file=sys.stderr)
        return changes
    expected = f"expected {' or '.join(NAMES)} next to it or in {path.with_suffix('')}/"
    way_out = "put it there, or give --no_normalizer if it acts on raw observations"
    for file in (folder / name for folder in folders for name in SETTINGS):
        if file.is_file() and says_normalised(_text(file)):
            raise InputError(
                f"was trained on normalised observations, as {file} says, but its normaliser is missing; {expected};"
                f" {way_out}"
            )
    similar = sorted(path.parent.glob("*[nN]orm*.pkl"))
    similar += sorted(path.parent.glob("*/*[nN]orm*.pkl")) if _has_no_folder(path) else []
    if similar:
        raise InputError(
            f"may need {similar[0]}, but it is not clear that this is its normaliser; {expected}; {way_out}"
        )
    print(f"note: {path}: no normaliser was found; its observations are not normalised", file=sys.stderr)
    return {}


def locate(path: Path, env_name: str) -> Path | None:
    """Return the file of the normaliser of the policy in the zip `path`, or None."""
    found = (_only_one(folder, file_names(path.stem)) for folder in _folders(path, env_name))
    return next(filter(None, found), None)


def file_names(stem: str) -> tuple[str, ...]:
    """Return the names that the normaliser of `stem`.zip may have."""
    checkpoint = CHECKPOINT.fullmatch(stem)
    return (*([f"{checkpoint[1]}_vecnormalize_{checkpoint[2]}_steps.pkl"] if checkpoint else []), *NAMES)


def says_normalised(text: str) -> bool:
    """Return whether the zoo's settings, which are YAML, say that the observations were normalised.

    Only the value of `normalize` is read: true, false, or the arguments of `VecNormalize`, of which `norm_obs` is
    true by default.
    """
    found = NORMALIZE.search(text)
    value = found[1].strip().strip("'\"").lower() if found else "false"
    return not re.match(r"(false|null|none|no|~)\b", value) and not re.search(r"norm_obs['\"\s:=]+false", value)


def _folders(path: Path, env_name: str) -> list[Path]:
    """Return where the normaliser may lie: in the zip's own folder, next to it, or in the environment's folder.

    The zoo's best_model.zip and its checkpoints have no folder. They use that of the training's last policy, if there
    is only one.
    """
    folders = [path.with_suffix(""), path.parent, path.parent / env_name]
    of_zoo = {file.parent for name in SETTINGS for file in path.parent.glob(f"*/{name}")}
    return folders + (list(of_zoo) if _has_no_folder(path) and len(of_zoo) == 1 else [])


def _has_no_folder(path: Path) -> bool:
    return path.stem == "best_model" or CHECKPOINT.fullmatch(path.stem) is not None


def _only_one(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the file of one of these names in the folder. Raise `InputError` if there are two different ones."""
    found = [folder / name for name in names if os.path.isfile(folder / name)]
    both = [file for file in found if file.name in NAMES]
    if found == both and len({file.read_bytes() for file in both}) > 1:
        raise InputError(f"may have the normaliser {found[0]} or {found[1]}, which differ; remove one of them")
    return found[0] if found else None


def _text(file: Path) -> str:
    with reading("file of settings"):
        return file.read_bytes().decode("utf8", "replace")


def _read(path: Path) -> dict[str, Any]:
    """Return how `VecNormalize` changed the observations; an empty dict if it did not."""
    try:
        state = load_pickle(path, MODULES)
        if not state.get("norm_obs", True):
            return {}
        mean, variance = (np.array(state["obs_rms"][key], np.float64) for key in ("mean", "var"))
        epsilon, clip = float(state["epsilon"]), float(state["clip_obs"])
        if not (clip > 0 and np.all(variance + epsilon > 0)):
            raise InputError("must have variances and a clip_obs above 0")
    except InputError as error:
        raise InputError(f"its normaliser {path}: {one_line(error)}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        needed = "obs_rms with mean and var, epsilon, clip_obs"
        raise InputError(f"its normaliser {path} needs {needed} ({type(error).__name__} {error})") from error
    return {"obs_mean": mean, "obs_std": np.sqrt(variance + epsilon), "obs_clip": clip}
