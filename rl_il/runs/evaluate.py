"""Evaluating a policy and recording an expert: the functions behind `evaluate.py` and `record_demos.py`."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import ENV, RunConfig
from rl_il.datasets import load_trajectories
from rl_il.datasets.npz import read_meta, read_npz
from rl_il.datasets.writing import check_target, write_demonstrations
from rl_il.envs import ENVS, env_of, env_row
from rl_il.errors import InputError
from rl_il.experts.loading import SCRIPTED_EXPERTS, find_file, load_actor
from rl_il.files import named_run, shipped
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.rollouts import begin_episodes, look_at, returns_and_lengths, sample_n_trajectories
from rl_il.infrastructure.video import check_video_path, record_frames, write_video
from rl_il.infrastructure.workers import rollout_source
from rl_il.options import from_json, seed_range
from rl_il.plugins import is_own
from rl_il.runs.folders import read_record
from rl_il.seeding import evaluation_seeds, stream
from rl_il.statistics import MIN_EPISODES, describe
from rl_il.types import EXPERT, SCORE, Trajectory

INTERVAL = "95 % interval of this policy"
EPISODES = 100  # of an evaluation


def evaluate(
    policy: str,
    env_name: str | None,
    episodes: int | None = None,
    seed: int = 0,
    ep_len: int | None = None,
    num_workers: int = 1,
    video: str | None = None,
    activation: str | None = None,
    no_normalizer: bool = False,
    env_kwargs: str | None = None,
    wrappers: str | None = None,
    eval_seeds: str | None = None,
) -> dict[str, Any]:
    """Evaluate a policy on `episodes` whole episodes and return statistics of their scores.

    The score is the return, unless the environment's row in `ENVS` has another. Then `measure` says so, and
    `mean_return` is returned too.

    Raise `InputError` before the first episode if the policy cannot be loaded or does not fit the environment.

    Args:
      policy: as `load_actor` takes it.
      env_name: the environment; None: the one of the policy's run (`task_of`). In the run's environment, the run's
        `ep_len`, arguments and wrappers hold too, unless others are given.
      env_kwargs, wrappers: the environment's arguments and wrappers as text, as in `make_recipe`.
      episodes, seed: how many episodes (default: 100), and the seed from which the seeds of all are drawn.
      eval_seeds: the seeds themselves instead, such as `0:100`.
    """
    fixed = seed_range("--eval_seeds", eval_seeds)
    if fixed and episodes not in (None, len(fixed)):
        raise InputError(
            f"--eval_seeds {eval_seeds} are {len(fixed):,} episodes, but --episodes is {episodes}; drop one"
        )
    episodes = len(fixed) if fixed else episodes or EPISODES
    policy = named_run(policy)
    task = _task_in(env_name, policy)
    given = {"ep_len": ep_len, "env_kwargs": env_kwargs, "wrappers": wrappers}
    task = replace(task, **{name: value for name, value in given.items() if value is not None})
    ep_len = task.ep_len
    if video:
        check_video_path(video)
    env = env_of(task)
    actor = load_actor(policy, env, activation, no_normalizer)
    if video:  # recorded first, so that an error in rendering comes before the rollouts
        frames, fps = record_frames(env, actor, int(stream(seed, "video").integers(2**62)), ep_len)
    with rollout_source(env, num_workers) as source:
        rollouts = sample_n_trajectories(source, actor, episodes, evaluation_seeds(seed, fixed), ep_len)
        rollouts = progress(rollouts, episodes, f"{task.env_title}, evaluating")
        found, success = look_at(rollouts, task.env_name)
    result = {"policy": policy, **task.env_settings, **({"eval_seeds": eval_seeds} if fixed else {"seed": seed})}
    measure = env_row(task.env_name).measure
    if measure is SCORE:
        result |= {"measure": measure.name}
    result |= describe(found.scores, found.lengths)
    if measure is SCORE:
        result["mean_return"] = float(found.returns.mean())
    if success is not None:
        result["success_rate"] = float(success.mean())
    if video:
        write_video(video, frames, fps)
        result["video"] = video
    return result


def _task_in(env_name: str | None, policy: str) -> RunConfig:
    """Return the task of the policy's run, or the named environment if that is another one."""
    try:
        task = task_of(policy)
    except InputError:  # for example a file outside a run folder
        if env_name is None:
            raise
        return RunConfig(env_name=env_name)
    return task if env_name in (None, task.env_name) else RunConfig(env_name=env_name)


def task_of(policy: str) -> RunConfig:
    """Return the environment and `ep_len` of a run folder or of a file in one, or a scripted expert's environment.

    They are in a config whose other settings are the default ones. The names `expert` and `random` fit several
    environments: for them, return the default environment. Raise `InputError` if a file does not exist or is not in a
    run folder.
    """
    if policy in ("expert", "random"):
        return RunConfig()
    if policy in SCRIPTED_EXPERTS:
        return RunConfig(env_name=SCRIPTED_EXPERTS[policy][0][0])
    folder = None if policy.startswith("hf:") or is_own(policy) else find_file(policy).parent
    if folder is None or not (folder / "config.json").is_file():
        raise InputError(f"{policy}: does not name its environment; give --env_name")
    record = read_record(folder)
    config = record.get("config", record.get("teaching"))
    try:
        task = {name: config[name] for name in (*ENV, "ep_len") if name in config}
        if "env_name" not in task:
            raise InputError("it is missing")
        return from_json(RunConfig, task)
    except (InputError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'}: names no environment ({error}); give --env_name") from error


def result_rows(result: dict[str, Any]) -> list[list[str]]:
    """Return the names and the values, as text, of a result of `evaluate`. NaN values are left out."""
    result = dict(result)
    low, high = result.pop("ci95_low"), result.pop("ci95_high")
    digits = ".3f" if "measure" in result else ".2f"
    rows = []
    for name, value in result.items():
        if name == "min":
            rows.append([INTERVAL, interval_text(low, high, digits)])
        if not (isinstance(value, float) and math.isnan(value)):
            rows.append([name, f"{value:{digits}}" if isinstance(value, float) else str(value)])
    return rows


def interval_text(low: float, high: float, digits: str = ".1f") -> str:
    """Return the interval of one policy as text; if there is none, return how many episodes it needs."""
    return f"needs {MIN_EPISODES} episodes" if math.isnan(low) else f"{low:{digits}} to {high:{digits}}"


EXPERT_COLUMNS = ["environment", "expert", "mean return", INTERVAL, "std", "min", "episodes", "mean length"]


def evaluate_experts(
    episodes: int | None = None, seed: int = 0, num_workers: int = 1, eval_seeds: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the result of every included expert, also the scripted ones, in each of its environments."""
    for env_name, spec in ENVS.items():
        scripted = [name for name, (own_envs, _) in SCRIPTED_EXPERTS.items() if env_name in own_envs]
        for expert in dict.fromkeys(filter(None, [spec.expert, *scripted])):
            policy = expert if expert in scripted else "expert"
            settings = {"num_workers": num_workers, "eval_seeds": eval_seeds}
            yield evaluate(policy, env_name, episodes, seed, **settings) | {"expert": expert}


def expert_row(result: dict[str, Any]) -> list[str]:
    """Return the row of experts/README.md, under `EXPERT_COLUMNS`, for a result of `evaluate_experts`."""
    mean, std, low, length = (f"{result[key]:.1f}" for key in ("mean", "std", "min", "mean_episode_length"))
    std = "" if math.isnan(result["std"]) else std
    interval = interval_text(result["ci95_low"], result["ci95_high"], ".1f")
    return [result["env_name"], result["expert"], mean, interval, std, low, str(result["episodes"]), length]


def demos_table(folder: Path | None = None) -> list[list[str]]:
    """Return the rows of a table that describes the files in `folder` (default: the included ones)."""
    rows = [["file", "episodes", "steps", "mean return", "min", "max", "MB", "made by"]]
    for path in sorted((folder or shipped("data", "demos")).glob("*.npz")):
        trajectories = load_trajectories(path)
        returns, lengths = returns_and_lengths(trajectories)
        numbers = [f"{number:.1f}" for number in (returns.mean(), returns.min(), returns.max())]
        size = f"{path.stat().st_size / 1e6:.1f}"
        command = recording_command(read_meta(read_npz(path)), len(trajectories))
        rows.append([path.name, str(len(returns)), f"{lengths.sum():,}", *numbers, size, f"`{command}`"])
    return rows


def recording_command(meta: dict[str, Any], n_demos: int) -> str:
    """Return the command that recorded a file, from the file's `meta`, without `--out`."""
    defaults = {"env_kwargs": None, "wrappers": None, "policy": "expert", "n_demos": None}
    defaults |= {"min_return": None, "ep_len": None, "seed": 0}
    chosen = {name: value for name, value in (meta | {"n_demos": n_demos}).items() if name in defaults}
    flags = [f"--{name} {chosen[name]}" for name, default in defaults.items() if chosen.get(name, default) != default]
    return " ".join(["record_demos.py", "--env_name", str(meta.get("env_name")), *flags])


def record_demos(
    env_name: str,
    out: Path,
    expert: str = "expert",
    n_demos: int = 100,
    min_return: float = -np.inf,
    seed: int = 0,
    ep_len: int | None = None,
    num_workers: int = 1,
    activation: str | None = None,
    no_normalizer: bool = False,
    to: str = "npz",
    env_kwargs: str | None = None,
    wrappers: str | None = None,
) -> tuple[list[Trajectory], int]:
    """Roll out `expert` until `n_demos` episodes reach `min_return`, and write these to `out` in the format `to`.

    Return the episodes that were kept, and the number of the others. Raise `InputError` if fewer than one episode in
    twenty reaches `min_return`.
    """
    check_target(to, out)
    expert = named_run(expert)
    task = RunConfig(env_name=env_name, env_kwargs=env_kwargs, wrappers=wrappers)
    env = env_of(task)
    actor = load_actor(expert, env, activation, no_normalizer)
    returns: list[float] = []

    def good_ones(rollouts: Iterator[Trajectory]) -> Iterator[Trajectory]:
        for trajectory in rollouts:
            returns.append(trajectory.episode_return)
            if returns[-1] >= min_return:
                yield trajectory

    with rollout_source(env, num_workers) as source:
        rollouts = begin_episodes(source, actor, stream(seed, "demonstrations"), ep_len, EXPERT)
        good = good_ones(islice(rollouts, 20 * n_demos))
        kept = list(progress(islice(good, n_demos), n_demos, "recording"))
        rollouts.close()
    if len(kept) < n_demos:
        raise InputError(
            f"--min_return {min_return:g}: only {len(kept)} of {len(returns)} episodes reach it (mean"
            f" {np.mean(returns):.1f}, best {max(returns):.1f}); lower it, or give a better expert with --policy"
        )
    meta = task.env_settings | {"policy": expert, "seed": seed, "min_return": min_return, "ep_len": ep_len}
    meta |= {"thrown_away": len(returns) - len(kept), "gymnasium": importlib.metadata.version("gymnasium")}
    write_demonstrations(to, out, kept, meta, env)
    return kept, len(returns) - len(kept)
