"""The runs of a report by environment: named variants, their experts, and the random policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_of, env_row
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.rollouts import look_at, sample_n_trajectories
from rl_il.report.runs import Run, Variant, differences, group_runs
from rl_il.report.tables import EXPERT_ROW, Result
from rl_il.seeding import stream

RANDOM_EPISODES = 20
NO_EXPERT = Result("none", [np.array([np.nan])])
EXPERT_SETTINGS = ("expert_policy_file", "expert_activation", "no_normalizer", "ep_len")  # what distinguishes experts
EXPERT_KEY = attrgetter(*EXPERT_SETTINGS)  # of a config


@dataclass(frozen=True)
class Task:
    """An environment, and all results in it."""

    env_name: str
    variants: Sequence[Variant]
    random: Result | None = None
    note: str = ""  # why there is no random policy

    @property
    def dagger(self) -> list[Variant]:
        """Return the DAgger variants that were evaluated in more than one iteration."""
        return [each for each in self.variants if each.config.algorithm == "DAgger" and len(each.itrs) > 1]

    @property
    def bc(self) -> list[Variant]:
        """Return the variants of behavioural cloning without DAgger."""
        return [variant for variant in self.variants if variant.config.algorithm == "BC"]

    @property
    def ppo(self) -> list[Variant]:
        """Return the variants of reinforcement learning that were evaluated in more than one iteration."""
        return [each for each in self.variants if each.config.algorithm == "PPO" and len(each.itrs) > 1]

    @property
    def experts(self) -> dict[tuple, Result]:
        """Return the live experts by their settings. If all variants have the same expert, there is one entry.

        Runs with the same seed measured their expert on the same episodes, so these episodes are counted only once.
        """
        starts: dict[tuple, dict[str | int, np.ndarray]] = {}
        for variant in self.variants:
            mine = starts.setdefault(EXPERT_KEY(variant.config), {})
            for run in variant.runs:
                if len(run.expert.scores) > len(mine.get(run.start, ())):
                    mine[run.start] = run.expert.scores
        measured = {key: [mine[start] for start in sorted(mine, key=str)] for key, mine in starts.items() if mine}
        measure = self.variants[0].measure
        return {
            key: Result.of_one_policy(_expert_name(key, measured), scores, measure)
            for key, scores in measured.items()
        }

    def expert(self, variant: Variant) -> Result:
        """Return the expert in the episodes of the variant's evaluations, or `NO_EXPERT`, whose mean is NaN."""
        return variant.expert or NO_EXPERT

    @property
    def levels(self) -> list[Result]:
        """Return the experts and the random policy, for level lines in figures."""
        return [*self.experts.values(), *([self.random] if self.random else [])]


def _expert_name(key: tuple, others: dict[tuple, Any]) -> str:
    """Return the expert's name. If there are several experts, it contains the settings in which they differ."""
    described = [
        f"{name} {'default' if key[i] is None else key[i]}"
        for i, name in enumerate(EXPERT_SETTINGS)
        if len({other[i] for other in others}) > 1
    ]
    return EXPERT_ROW + (f" ({', '.join(described)})" if described else "")


def tasks_of(runs: Sequence[Run], random_episodes: int = RANDOM_EPISODES) -> list[Task]:
    """Return the runs by environment, in the order in which the environments first occur.

    The random policy is measured on `random_episodes` episodes, if that is not 0. Raise `InputError` if two runs have
    the same settings and seed, or if the seeds of a variant have no evaluated iteration in common.
    """
    by_env: dict[str, list[Variant]] = {}
    for variant in group_runs(runs):
        if not variant.itrs:
            folders = ", ".join(str(run.folder) for run in variant.runs)
            raise InputError(f"seeds of a variant have no evaluated iteration in common: {folders}; leave one out")
        by_env.setdefault(variant.config.env_title, []).append(variant)
    tasks = []
    for env_name, variants in by_env.items():
        random, note = None, ""
        if random_episodes:
            try:
                random = measure_random(variants[0].config, random_episodes)
            except InputError as error:
                note = f"The random policy was not measured: {error}"
        named = zip(variants, variant_names(variants), strict=True)
        tasks.append(Task(env_name, [replace(variant, name=name) for variant, name in named], random, note))
    return tasks


def measure_random(config: RunConfig, episodes: int) -> Result:
    """Return the result of uniformly random actions. The episodes are the same in every report."""
    with env_of(config) as env:
        rng, random = stream(0, "evaluation"), load_actor("random", env)
        rollouts = sample_n_trajectories(env, random, episodes, rng, config.ep_len)
        rollouts = progress(rollouts, episodes, f"{config.env_title}, the random policy")
        scores = look_at(rollouts, config.env_name)[0].scores
        return Result("random policy", [scores], measure=env_row(config.env_name).measure)


def variant_names(variants: Sequence[Variant]) -> list[str]:
    """Return a name for each variant: its values of the settings that differ, or the algorithm if none do."""
    names = [name for name in differences(variants) if name not in ("env_name", "do_dagger", "n_iter")]
    if len({variant.config.n_iter for variant in variants if variant.config.do_dagger}) > 1:
        names.append("n_iter")
    mixed = len({variant.config.algorithm for variant in variants}) > 1
    for show in (shown_value, _raw_value):
        shown = []
        for variant in variants:
            described = [f"{name} {show(variant, name)}" for name in names if hasattr(variant.config, name)]
            shown.append(", ".join([variant.config.algorithm] * (mixed or not described) + described))
        if len({*shown}) == len(shown):  # otherwise only folders differ, or a default and the same value
            break
    return shown


def _raw_value(variant: Variant, name: str) -> str:
    value = getattr(variant.config, name)
    return "default" if value is None else str(value)


def recorded_default(variant: Variant, name: str) -> Any:
    """Return the default of a flag that was not given, or None if the run did not record it."""
    defaults = variant.runs[0].record.get("defaults")
    return defaults.get(name) if isinstance(defaults, dict) else None


def shown_value(variant: Variant, name: str) -> str:
    """Return the value of a setting as text. For a flag that was not given, it is the recorded default.

    It is empty if such runs do not have the setting.
    """
    if not hasattr(variant.config, name):
        return ""
    value = getattr(variant.config, name)
    value = recorded_default(variant, name) if value is None else value
    if value is None:
        return "all" if name == "n_demos" else "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "policy":
        names = list(dict.fromkeys("/".join(Path(run.config.policy).parts[-2:]) for run in variant.runs))
        return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")  # run folders and iterations
    if isinstance(value, str) and name.startswith("expert_"):
        return Path(value).name  # a whole path would be too long
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
