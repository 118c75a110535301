"""The runs of a report by environment: variants with names, the experts measured with them, the random policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.rollouts import sample_n_trajectories
from rl_il.report.runs import Run, Variant, differences, group_runs
from rl_il.report.tables import Result
from rl_il.seeding import stream

RANDOM_EPISODES = 20
NO_EXPERT = Result("none", [np.array([np.nan])])
EXPERT_SETTINGS = ("expert_policy_file", "expert_activation", "ep_len")  # what tells experts apart
EXPERT_KEY = attrgetter(*EXPERT_SETTINGS)  # of a config


@dataclass(frozen=True)
class Task:
    """One environment, and what was measured in it."""

    env_name: str
    variants: Sequence[Variant]
    random: Result | None = None
    note: str = ""  # why there is no random policy

    @property
    def dagger(self) -> list[Variant]:
        """Return the DAgger variants that were evaluated more than once."""
        return [variant for variant in self.variants if variant.config.do_dagger and len(variant.itrs) > 1]

    @property
    def bc(self) -> list[Variant]:
        """Return the variants of behavioural cloning alone."""
        return [variant for variant in self.variants if not variant.config.do_dagger]

    @property
    def experts(self) -> dict[tuple, Result]:
        """Return the live experts by what tells them apart; one entry where all variants have the same.

        Variants of one seed measured their expert in the same episodes, which are counted once.
        """
        seeds: dict[tuple, dict[int, np.ndarray]] = {}
        for variant in self.variants:
            mine = seeds.setdefault(EXPERT_KEY(variant.config), {})
            for run in variant.runs:
                if len(run.expert_returns) > len(mine.get(run.config.seed, ())):
                    mine[run.config.seed] = run.expert_returns
        measured = {key: [mine[seed] for seed in sorted(mine)] for key, mine in seeds.items() if mine}
        return {key: Result(_expert_name(key, measured), returns) for key, returns in measured.items()}

    def expert(self, variant: Variant) -> Result:
        """Return the expert measured with the variant; one without a mean where there was none."""
        return self.experts.get(EXPERT_KEY(variant.config), NO_EXPERT)

    @property
    def levels(self) -> list[Result]:
        """Return the experts and the random policy: the level lines of every figure."""
        return [*self.experts.values(), *([self.random] if self.random else [])]


def _expert_name(key: tuple, others: dict[tuple, Any]) -> str:
    """Return a name with what sets this expert apart, if there are several."""
    told = [
        f"{name} {'default' if key[i] is None else key[i]}"
        for i, name in enumerate(EXPERT_SETTINGS)
        if len({other[i] for other in others}) > 1
    ]
    return "expert, measured now" + (f" ({', '.join(told)})" if told else "")


def tasks_of(runs: Sequence[Run], random_episodes: int = RANDOM_EPISODES) -> list[Task]:
    """Return the runs by environment, in the order in which the first of each came.

    The random policy is measured in `random_episodes`, if any. Raise `InputError` for a run given twice, and seeds
    without a common iteration.
    """
    by_env: dict[str, list[Variant]] = {}
    for variant in group_runs(runs):
        if not variant.itrs:
            folders = ", ".join(str(run.folder) for run in variant.runs)
            raise InputError(f"seeds of one variant without a common evaluated iteration: {folders}; leave one out")
        by_env.setdefault(variant.config.env_name, []).append(variant)
    tasks = []
    for env_name, variants in by_env.items():
        random, note = None, ""
        if random_episodes:
            try:
                random = measure_random(env_name, variants[0].config.ep_len, random_episodes)
            except InputError as error:
                note = f"The random policy was not measured: {error}"
        named = zip(variants, variant_names(variants), strict=True)
        tasks.append(Task(env_name, [replace(variant, name=name) for variant, name in named], random, note))
    return tasks


def measure_random(env_name: str, ep_len: int | None, episodes: int) -> Result:
    """Return the scores of whole episodes of uniformly random actions, the same ones every time."""
    with make_env(env_name) as env:
        rollouts = sample_n_trajectories(env, load_actor("random", env), episodes, stream(0, "evaluation"), ep_len)
        rollouts = progress(rollouts, episodes, f"{env_name}, the random policy")
        return Result("random policy", [np.array([rollout.episode_return for rollout in rollouts])])


def variant_names(variants: Sequence[Variant]) -> list[str]:
    """Return what sets each variant apart from the others; DAgger or BC alone where nothing does."""
    names = [name for name in differences(variants) if name not in ("env_name", "do_dagger", "n_iter")]
    if len({variant.config.n_iter for variant in variants if variant.config.do_dagger}) > 1:
        names.append("n_iter")
    mixed = len({variant.config.do_dagger for variant in variants}) > 1
    for show in (shown_value, _raw_value):
        shown = []
        for variant in variants:
            told = [f"{name} {show(variant, name)}" for name in names]
            shown.append(", ".join([algorithm(variant)] * (mixed or not names) + told))
        if len({*shown}) == len(shown):  # else a file's folder, or a default and the same value, tell them apart
            break
    return shown


def _raw_value(variant: Variant, name: str) -> str:
    value = getattr(variant.config, name)
    return "default" if value is None else str(value)


def algorithm(variant: Variant) -> str:
    """Return `DAgger` or `BC`."""
    return "DAgger" if variant.config.do_dagger else "BC"


def recorded_default(variant: Variant, name: str) -> Any:
    """Return what a flag that was left out came to; None where the run does not say."""
    defaults = variant.runs[0].record.get("defaults")
    return defaults.get(name) if isinstance(defaults, dict) else None


def shown_value(variant: Variant, name: str) -> str:
    """Return a setting's value to read; what a flag that was left out came to, where the run says so."""
    value = getattr(variant.config, name)
    value = recorded_default(variant, name) if value is None else value
    if value is None:
        return "all" if name == "n_demos" else "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and name.startswith("expert_"):
        return Path(value).name  # a whole path would hide the rest
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
