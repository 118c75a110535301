"""The runs of a report by environment: variants with names, the experts beside them, the random policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.rollouts import sample_n_trajectories
from rl_il.infrastructure.seeding import stream
from rl_il.policies.experts import load_actor
from rl_il.report.runs import Run, Variant, differences, group_runs
from rl_il.report.tables import Result

RANDOM_EPISODES = 20
NO_EXPERT = Result("none", [np.array([np.nan])])


@dataclass(frozen=True)
class Task:
    """One environment, and what was measured in it."""

    env_name: str
    variants: Sequence[Variant]
    names: Sequence[str]  # of the variants
    random: Result | None = None
    note: str = ""  # why there is no random policy

    @property
    def dagger(self) -> list[tuple[str, Variant]]:
        """The DAgger variants that were evaluated more than once, with their names."""
        return [pair for pair in self.named if pair[1].config.do_dagger and len(pair[1].itrs) > 1]

    @property
    def bc(self) -> list[tuple[str, Variant]]:
        """The variants of behavioural cloning alone, with their names."""
        return [pair for pair in self.named if not pair[1].config.do_dagger]

    @property
    def named(self) -> list[tuple[str, Variant]]:
        """The variants with their names."""
        return list(zip(self.names, self.variants, strict=True))

    @property
    def experts(self) -> dict[tuple, Result]:
        """The live experts by what tells them apart; one entry where all variants have the same.

        Variants of one seed measured their expert in the same episodes, which are counted once.
        """
        seeds: dict[tuple, dict[int, np.ndarray]] = {}
        for variant in self.variants:
            mine = seeds.setdefault(_expert_key(variant.config), {})
            for run in variant.runs:
                if len(run.expert_returns) > len(mine.get(run.config.seed, ())):
                    mine[run.config.seed] = run.expert_returns
        measured = {key: [mine[seed] for seed in sorted(mine)] for key, mine in seeds.items() if mine}
        return {key: Result(_expert_name(key, measured), returns) for key, returns in measured.items()}

    def expert(self, variant: Variant) -> Result:
        """The expert measured beside the variant; one without a mean where there was none."""
        return self.experts.get(_expert_key(variant.config), NO_EXPERT)


EXPERT_SETTINGS = ("expert_policy_file", "expert_activation", "ep_len", "vec_env")


def _expert_key(config: RunConfig) -> tuple:
    return tuple(getattr(config, name) for name in EXPERT_SETTINGS)


def _expert_name(key: tuple, others: dict[tuple, Any]) -> str:
    """Names what sets this expert apart, if there are several."""
    told = [
        f"{name} {'default' if key[i] is None else key[i]}"
        for i, name in enumerate(EXPERT_SETTINGS)
        if len({other[i] for other in others}) > 1
    ]
    return "expert, measured now" + (f" ({', '.join(told)})" if told else "")


def tasks_of(runs: Sequence[Run], random_episodes: int = RANDOM_EPISODES) -> list[Task]:
    """The runs by environment, in the order in which the first of each came.

    Args:
      random_episodes: how long the random policy is measured; 0: not at all.

    Raises `InputError` for a run given twice, and seeds without a common iteration.
    """
    variants = group_runs(runs)
    for variant in variants:
        if not variant.itrs:
            folders = ", ".join(str(run.folder) for run in variant.runs)
            raise InputError(
                f"the seeds of one variant were evaluated in no common iteration: {folders}; leave one out"
            )
    tasks = []
    for env_name in dict.fromkeys(variant.config.env_name for variant in variants):
        mine = [variant for variant in variants if variant.config.env_name == env_name]
        random, note = None, ""
        if random_episodes:
            try:
                random = measure_random(env_name, mine[0].config.ep_len, random_episodes)
            except InputError as error:
                note = f"The random policy was not measured: {error}"
        tasks.append(Task(env_name, mine, variant_names(mine), random, note))
    return tasks


def measure_random(env_name: str, ep_len: int | None, episodes: int) -> Result:
    """Whole episodes of uniformly random actions, the same ones every time."""
    env = make_env(env_name)
    try:
        rollouts = sample_n_trajectories(env, load_actor("random", env), episodes, stream(0, "evaluation"), ep_len)
        rollouts = progress(rollouts, episodes, f"{env_name}, the random policy")
        return Result("random policy", [np.array([rollout.episode_return for rollout in rollouts])])
    finally:
        env.close()


def variant_names(variants: Sequence[Variant]) -> list[str]:
    """What sets each variant apart from the others; DAgger or BC alone where nothing does."""
    names = [name for name in differences(variants) if name not in ("env_name", "do_dagger", "n_iter")]
    if len({variant.config.n_iter for variant in variants if variant.config.do_dagger}) > 1:
        names.append("n_iter")
    mixed = len({variant.config.do_dagger for variant in variants}) > 1
    for show in (shown_value, _raw_value):
        shown = []
        for variant in variants:
            told = [f"{name} {show(variant, name)}" for name in names]
            shown.append(", ".join(([algorithm(variant)] if mixed or not names else []) + told))
        if len({*shown}) == len(shown):  # else a file's folder, or a default beside the same value
            break
    return shown


def _raw_value(variant: Variant, name: str) -> str:
    value = getattr(variant.config, name)
    return "default" if value is None else str(value)


def algorithm(variant: Variant) -> str:
    """`DAgger` or `BC`."""
    return "DAgger" if variant.config.do_dagger else "BC"


def recorded_default(variant: Variant, name: str) -> Any:
    """What a flag that was left out came to; None where the run does not say."""
    defaults = variant.runs[0].record.get("defaults")
    return defaults.get(name) if isinstance(defaults, dict) else None


def shown_value(variant: Variant, name: str) -> str:
    """A setting's value to read; what a flag that was left out came to, where the run says so."""
    value = getattr(variant.config, name)
    if value is None:
        value = recorded_default(variant, name)
    if value is None:
        return "all" if name == "n_demos" else "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and name.startswith("expert_"):
        return Path(value).name  # a whole path would hide the rest
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
