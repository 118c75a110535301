"""From a clone to reinforcement learning: PPO with and without protection of the clone, and PPO from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import check_writable
from rl_il.finetune_config import SB3_LEARNING_RATE, FinetuneConfig
from rl_il.finetuning.experiment import FINETUNING
from rl_il.policies.to_sb3 import import_sb3
from rl_il.report.runs import Variant, read_run
from rl_il.report.tables import count
from rl_il.runs.folders import is_finished
from rl_il.studies.ablation.jobs import train
from rl_il.studies.ablation.launch import LOCAL, Launcher
from rl_il.studies.ablation.sweep import make_missing, print_rest
from rl_il.studies.finetune_results import FILES, Group, write_results


@dataclass(frozen=True)
class Task:
    """A clone, how PPO goes on with it, and the mean return that is to be reached."""

    cloning: RunConfig
    tuning: FinetuneConfig  # with the protections
    goal: float


# The settings were chosen with the seeds from 1001 on, which the results do not use.
LANDER = Task(
    RunConfig(env_name="LunarLander-v3", n_demos=1, eval_episodes=50, video_log_freq=-1),
    FinetuneConfig(
        env_name="LunarLander-v3",
        total_timesteps=204_800,
        eval_every=10_240,
        n_steps=64,
        learning_rate=5e-4,
        gamma=0.999,
        gae_lambda=0.98,
        ent_coef=0.01,
        reward_scale=0.05,
        critic_warmup=5_120,
        temperature=3.0,
        kl_to_clone=0.05,
        kl_until=30_720,
        eval_episodes=50,
    ),
    goal=200,
)
HOPPER = Task(
    RunConfig(
        env_name="Hopper-v5",
        n_demos=1,
        num_agent_train_steps_per_iter=200,  # so few that the clone is weak
        learning_rate=1e-3,
        normalize_obs=True,
        eval_episodes=50,
        video_log_freq=-1,
    ),
    FinetuneConfig(
        env_name="Hopper-v5",
        total_timesteps=204_800,
        eval_every=20_480,
        n_steps=128,
        learning_rate=3e-4,
        reward_scale=0.02,
        critic_warmup=10_240,
        kl_to_clone=0.01,
        kl_until=51_200,
        eval_episodes=50,
    ),
    goal=2000,
)
TASKS = {task.cloning.env_name: task for task in (LANDER, HOPPER)}
NO_PROTECTION: dict[str, Any] = {"critic_warmup": 0, "temperature": 1.0, "kl_to_clone": 0.0, "kl_until": None}
# These are the defaults of Stable-Baselines3's PPO.
LIBRARY: dict[str, Any] = {"learning_rate": SB3_LEARNING_RATE, "lr_schedule": "constant"}
ALL_OF_LIBRARY = LIBRARY | {
    "n_envs": 1,
    "n_steps": 2048,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "ent_coef": 0.0,
    "reward_scale": 1.0,
}
NOTHING = dict.fromkeys(NO_PROTECTION) | {"from_nothing": True}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "protected": ("PPO from the clone, protected", {}),
    "unprotected": ("PPO from the clone, not protected", NO_PROTECTION),
    "library": ("PPO from the clone, not protected, the library's learning rate", NO_PROTECTION | LIBRARY),
    "nothing": ("PPO from nothing", NOTHING),
    "plain": ("PPO from nothing, the library's settings", NOTHING | ALL_OF_LIBRARY),
}
"""For each folder: the name in the table, and the settings in which it differs from the protected one."""


def clone_config(task: Task, seed: int) -> RunConfig:
    """Return the settings of the clone; `logdir` is relative to the folder of the study."""
    return replace(task.cloning, seed=seed, logdir=f"runs/{task.cloning.env_name}/clone/seed_{seed}")


def tuning_config(task: Task, variant: str, seed: int, outdir: Path) -> FinetuneConfig:
    """Return the settings of PPO from the clone with this seed."""
    policy = (outdir / clone_config(task, seed).logdir / "policy_itr_0.pt").absolute()
    folder = f"runs/{task.cloning.env_name}/{variant}/seed_{seed}"
    return replace(task.tuning, policy=str(policy), seed=seed, logdir=folder, **VARIANTS[variant][1])


tune = partial(train, kind=FINETUNING)
"""Make or continue a run of PPO, as `train` does for cloning."""


def run_finetuning(tasks: Sequence[Task], outdir: Path, seeds: Sequence[int], launcher: Launcher = LOCAL) -> bool:
    """Make the runs that are missing, and write the table, the figure and the page of all.

    Args:
      tasks: the clones, and how PPO goes on with them.
      outdir: the folder of the runs and the results.
      seeds: the seeds of the runs.
      launcher: as for `run_ablation`.

    Returns:
      True if every run ended without an error.

    Raises:
      InputError: the library is not installed, or `outdir` holds other runs, or there is no result.
      Interrupted: Ctrl-C or SIGTERM; what was made is kept, and the same call continues.
    """
    import_sb3()
    for name in FILES:
        check_writable(outdir / name)
    clones = [clone_config(task, seed) for task in tasks for seed in seeds]
    failures, missing = make_missing(clones, outdir, launcher)
    tuned = [
        tuning_config(task, variant, seed, outdir)
        for task in tasks
        for variant in VARIANTS
        for seed in seeds
        if is_finished(outdir / clone_config(task, seed).logdir)
    ]
    more, others = make_missing(tuned, outdir, launcher, tune)
    groups = [group for task in tasks for group in gather(task, seeds, outdir)]
    if not groups:
        raise InputError(f"{outdir}: no run has a result; log.txt in this folder has the reasons")
    write_results(groups, outdir)
    print_rest(failures | more, missing + others, outdir)
    return not (failures | more)


def gather(task: Task, seeds: Sequence[int], outdir: Path) -> list[Group]:
    """Return the variants of a task that have finished runs."""
    groups = []
    for name, (title, _) in VARIANTS.items():
        folders = [outdir / tuning_config(task, name, seed, outdir).logdir for seed in seeds]
        runs = [read_run(folder) for folder in folders if is_finished(folder)]
        groups += [Group(task.cloning.env_name, Variant(runs, title), task.goal, about(task), name)] if runs else []
    return groups


def about(task: Task) -> str:
    """Return the settings of the clone and of PPO."""
    clone, ppo = task.cloning, task.tuning
    until = ppo.kl_until or ppo.total_timesteps
    softened = "" if ppo.temperature is None else f" logits divided by {ppo.temperature:g},"
    return (
        f"{count(clone.n_demos or 0, 'demonstration')}, {clone.num_agent_train_steps_per_iter:,} gradient steps."
        f" Protected: {ppo.warmup:,} steps of the critic alone,{softened} price of leaving the clone"
        f" {ppo.kl_weight(0):g} until {until:,} steps. Learning rate {ppo.learning_rate:g} ({ppo.lr_schedule}), the"
        f" library's {SB3_LEARNING_RATE:g} (constant). All but the last row: {ppo.n_envs} environments of"
        f" {ppo.n_steps} steps an update, gamma {ppo.gamma:g}, GAE {ppo.gae_lambda:g}, weight of the entropy"
        f" {ppo.ent_coef:g}, rewards times {ppo.reward_scale:g}."
    )
