"""Evaluating a policy and recording an expert: the functions behind `evaluate.py` and `record_demos.py`."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.datasets.npz import read_meta, read_npz
from rl_il.datasets.writing import check_target, write_demonstrations
from rl_il.envs import ENVS, make_env
from rl_il.errors import InputError
from rl_il.experts.loading import SCRIPTED_EXPERTS, find_file, load_actor
from rl_il.files import REPOSITORY, named_run
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.rollouts import begin_episodes, look_at, returns_and_lengths, sample_n_trajectories
from rl_il.infrastructure.video import check_video_path, record_frames, write_video
from rl_il.infrastructure.workers import rollout_source
from rl_il.runs.folders import read_record
from rl_il.seeding import stream
from rl_il.statistics import MIN_EPISODES, describe
from rl_il.types import EXPERT, Trajectory

INTERVAL = "95 % interval of this policy"


def evaluate(
    policy: str,
    env_name: str | None,
    episodes: int,
    seed: int = 0,
    ep_len: int | None = None,
    num_workers: int = 1,
    video: str | None = None,
    activation: str | None = None,
    no_normalizer: bool = False,
) -> dict[str, Any]:
    """Evaluate a policy on `episodes` whole episodes and return statistics.

    Raise `InputError` before the first episode if the policy cannot be loaded or does not fit the environment.

    Args:
      policy: as `load_actor` takes it.
      env_name: the environment; None: the policy's own, with the `ep_len` of its run (`task_of`).
    """
    policy = named_run(policy)
    if env_name is None:
        env_name, run_ep_len = task_of(policy)
        ep_len = ep_len or run_ep_len
    if video:
        check_video_path(video)
    env = make_env(env_name)
    actor = load_actor(policy, env, activation, no_normalizer)
    if video:  # recorded first, so that an error in rendering comes before the rollouts
        frames, fps = record_frames(env_name, actor, int(stream(seed, "video").integers(2**62)), ep_len)
    with rollout_source(env_name, env, num_workers) as source:
        rollouts = sample_n_trajectories(source, actor, episodes, stream(seed, "evaluation"), ep_len)
        rollouts = progress(rollouts, episodes, f"{env_name}, evaluating")
        returns, lengths, success = look_at(rollouts, env_name)
    result = {"policy": policy, "env_name": env_name, "seed": seed} | describe(returns, lengths)
    if success is not None:
        result["success_rate"] = float(success.mean())
    if video:
        write_video(video, frames, fps)
        result["video"] = video
    return result


def task_of(policy: str) -> tuple[str, int | None]:
    """Return the environment and `ep_len` of a run folder or of a file in one, or a scripted expert's environment.

    The names `expert` and `random` fit several environments: for them, return the default environment. Raise
    `InputError` if a file does not exist or is not in a run folder.
    """
    if policy in ("expert", "random"):
        return RunConfig.env_name, None
    if policy in SCRIPTED_EXPERTS:
        return SCRIPTED_EXPERTS[policy][0], None
    folder = None if policy.startswith("hf:") else find_file(policy).parent
    if folder is None or not (folder / "config.json").is_file():
        raise InputError(f"{policy}: does not name its environment; give --env_name")
    record = read_record(folder)
    config = record.get("config", record.get("teaching"))
    env_name, ep_len = (config.get(name) if isinstance(config, dict) else None for name in ("env_name", "ep_len"))
    if not isinstance(env_name, str) or not isinstance(ep_len, int | None):
        raise InputError(f"{folder / 'config.json'}: names no environment; give --env_name")
    return env_name, ep_len


def result_rows(result: dict[str, Any]) -> list[list[str]]:
    """Return the names and the values, as text, of a result of `evaluate`. NaN values are left out."""
    result = dict(result)
    low, high = result.pop("ci95_low"), result.pop("ci95_high")
    rows = []
    for name, value in result.items():
        if name == "min":
            rows.append([INTERVAL, interval_text(low, high, ".2f")])
        if not (isinstance(value, float) and math.isnan(value)):
            rows.append([name, f"{value:.2f}" if isinstance(value, float) else str(value)])
    return rows


def interval_text(low: float, high: float, digits: str = ".1f") -> str:
    """Return the interval of one policy as text; if there is none, return how many episodes it needs."""
    return f"needs {MIN_EPISODES} episodes" if math.isnan(low) else f"{low:{digits}} to {high:{digits}}"


EXPERT_COLUMNS = ["environment", "expert", "mean return", INTERVAL, "std", "min", "episodes", "mean length"]


def evaluate_experts(episodes: int, seed: int = 0, num_workers: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the result of every included expert, also the scripted ones, in each of its environments."""
    for env_name, spec in ENVS.items():
        scripted = [name for name, (own_env, _) in SCRIPTED_EXPERTS.items() if own_env == env_name]
        for expert in dict.fromkeys(filter(None, [spec.expert, *scripted])):
            policy = expert if expert in scripted else "expert"
            yield evaluate(policy, env_name, episodes, seed, num_workers=num_workers) | {"expert": expert}


def expert_row(result: dict[str, Any]) -> list[str]:
    """Return the row of experts/README.md, under `EXPERT_COLUMNS`, for a result of `evaluate_experts`."""
    mean, std, low, length = (f"{result[key]:.1f}" for key in ("mean", "std", "min", "mean_episode_length"))
    std = "" if math.isnan(result["std"]) else std
    interval = interval_text(result["ci95_low"], result["ci95_high"], ".1f")
    return [result["env_name"], result["expert"], mean, interval, std, low, str(result["episodes"]), length]


def demos_table(folder: Path = REPOSITORY / "data" / "demos") -> list[list[str]]:
    """Return the rows of a table that describes the demonstrations in `folder`; the first is its header."""
    rows = [["file", "episodes", "steps", "mean return", "min", "max", "MB", "made by"]]
    for path in sorted(folder.glob("*.npz")):
        trajectories = load_trajectories(path)
        returns, lengths = returns_and_lengths(trajectories)
        numbers = [f"{number:.1f}" for number in (returns.mean(), returns.min(), returns.max())]
        size = f"{path.stat().st_size / 1e6:.1f}"
        command = recording_command(read_meta(read_npz(path)), len(trajectories))
        rows.append([path.name, str(len(returns)), f"{lengths.sum():,}", *numbers, size, f"`{command}`"])
    return rows


def recording_command(meta: dict[str, Any], n_demos: int) -> str:
    """Return the command that recorded a file, from the file's `meta`, without `--out`."""
    defaults = {"policy": "expert", "n_demos": None, "min_return": None, "ep_len": None, "seed": 0}
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
) -> tuple[list[Trajectory], int]:
    """Roll out `expert` until `n_demos` episodes reach `min_return`, and write these to `out` in the format `to`.

    Return the episodes that were kept, and the number of the others. Raise `InputError` if fewer than one episode in
    twenty reaches `min_return`.
    """
    check_target(to, out)
    expert = named_run(expert)
    env = make_env(env_name)
    actor = load_actor(expert, env, activation, no_normalizer)
    returns: list[float] = []

    def good_ones(rollouts: Iterator[Trajectory]) -> Iterator[Trajectory]:
        for trajectory in rollouts:
            returns.append(trajectory.episode_return)
            if returns[-1] >= min_return:
                yield trajectory

    with rollout_source(env_name, env, num_workers) as source:
        rollouts = begin_episodes(source, actor, stream(seed, "demonstrations"), ep_len, EXPERT)
        good = good_ones(islice(rollouts, 20 * n_demos))
        kept = list(progress(islice(good, n_demos), n_demos, "recording"))
        rollouts.close()
    if len(kept) < n_demos:
        raise InputError(
            f"--min_return {min_return:g}: only {len(kept)} of {len(returns)} episodes reach it (mean"
            f" {np.mean(returns):.1f}, best {max(returns):.1f}); lower it, or give a better expert with --policy"
        )
    meta = {"env_name": env_name, "policy": expert, "seed": seed, "min_return": min_return, "ep_len": ep_len}
    meta |= {"thrown_away": len(returns) - len(kept), "gymnasium": importlib.metadata.version("gymnasium")}
    write_demonstrations(to, out, kept, meta, env)
    return kept, len(returns) - len(kept)
