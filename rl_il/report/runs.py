"""Run folders, which are read, and grouped into variants if they differ only in their seed."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_row
from rl_il.errors import InputError
from rl_il.files import named_run, read_csv, reading
from rl_il.infrastructure.rollouts import EpisodeStatistics
from rl_il.report.alike import recorded_policy, settings_of
from rl_il.report.tables import EXPERT_ROW, Result
from rl_il.runs.folders import read_config, read_record
from rl_il.types import Measure


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder. The scores are returns unless the environment's row says otherwise."""

    folder: Path
    config: RunConfig
    record: dict[str, Any]  # config.json
    summary: dict[str, Any]  # summary.json
    metrics: list[dict[str, float]]  # the last row of each iteration; NaN for an empty cell
    scores: dict[int, np.ndarray]  # by iteration: the scores in its last evaluation
    lengths: dict[int, np.ndarray]
    by_steps: dict[int, np.ndarray]  # by number of gradient steps so far: the scores of every evaluation
    expert: EpisodeStatistics

    @property
    def last(self) -> int:
        """Return the last evaluated iteration."""
        return max(self.scores)

    @property
    def start(self) -> str | int:
        """Return what decides on which episodes the run was evaluated: the setting `eval_seeds`, or the seed."""
        return self.config.eval_seeds or self.config.seed

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """Return the settings that distinguish variants."""
        return settings_of(self.config, self.record)

    @property
    def begins_with(self) -> str | None:
        """Return the recorded checksum of the policy that reinforcement learning begins with, or None."""
        policy = None if getattr(self.config, "from_nothing", True) else recorded_policy(self.record)
        return policy and policy.sha256


def read_run(folder: Path) -> Run:
    """Read the folder of a finished run. Raise `InputError`, with the file's name, if one is missing or damaged."""
    record, config = read_record(folder), read_config(folder)
    path = folder / "summary.json"
    try:
        with reading("file of a finished run"):
            summary = json.loads(path.read_text(encoding="utf-8"))
            summary = {name: float("nan") if value is None else value for name, value in summary.items()}
            path = folder / "metrics.csv"
            metrics = _last_rows(read_csv(path))
            path = folder / "episodes.csv"
            learner, expert = _evaluations(read_csv(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not learner:
        raise InputError(f"{path}: has no evaluation episodes; maybe the run was stopped before the first one")
    for each in (expert, *learner.values()):
        if not (np.isfinite([each.returns, each.scores]).all() and (each.lengths >= 0).all()):
            raise InputError(f"{path}: contains a return or score that is not finite, or a negative length")
    if not all(0 <= itr < len(metrics) and "Expert_LabelsSoFar" in metrics[itr] for itr, _ in learner):
        path = folder / "metrics.csv"
        raise InputError(f"{path}: has no row for an iteration in episodes.csv, or no column Expert_LabelsSoFar")
    last = {itr: learner[itr, steps] for itr, steps in sorted(learner)}  # the last evaluation of an iteration counts
    return Run(
        folder,
        config,
        record,
        summary,
        metrics,
        scores={itr: each.scores for itr, each in last.items()},
        lengths={itr: each.lengths for itr, each in last.items()},
        by_steps={steps: each.scores for (_, steps), each in learner.items() if steps},
        expert=expert,
    )


def _last_rows(rows: Sequence[dict[str, str]]) -> list[dict[str, float]]:
    """Return the last row of each iteration, as numbers. (An iteration has a row for each evaluation.)"""
    numbers = [{name: float(cell) if cell else float("nan") for name, cell in row.items()} for row in rows]
    last = {int(row["iteration"]): row for row in numbers}
    return [last[itr] for itr in range(len(last))]


def _evaluations(
    rows: Sequence[dict[str, str]],
) -> tuple[dict[tuple[int, int], EpisodeStatistics], EpisodeStatistics]:
    """Return the learner's episodes by iteration and number of gradient steps so far, and the expert's episodes."""
    found: dict[tuple[str, int, int], list[dict[str, str]]] = {("expert", 0, 0): []}
    for row in rows:
        steps = int(row.get("gradient_steps") or 0) if row["policy"] == "learner" else 0
        found.setdefault((row["policy"], int(row["iteration"]), steps), []).append(row)
    numbers = {key: read_episodes(of) for key, of in found.items()}
    return {key[1:]: each for key, each in numbers.items() if key[0] == "learner"}, numbers["expert", 0, 0]


def read_episodes(rows: Sequence[dict[str, str]]) -> EpisodeStatistics:
    """Return the numbers in rows of episodes.csv. If it has no column `score`, the scores are the returns."""
    returns, lengths = [float(row["return"]) for row in rows], [int(row["length"]) for row in rows]
    return EpisodeStatistics.from_lists(returns, lengths, [float(row.get("score", row["return"])) for row in rows])


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Return all finished runs in these folders and below them. Runs below a folder are sorted by name.

    `latest` is the newest run folder. Raise `InputError` for a path without a finished run.
    """
    runs = []
    for path in (Path(named_run(str(path))) for path in paths):
        found = [file.parent for file in path.rglob("summary.json")]
        # An ablation also writes summaries of experts and random policies, which are not runs.
        found = [folder for folder in found if folder == path or (folder / "config.json").exists()]
        if not found:
            raise InputError(f"{path}: contains no finished run (a folder with a summary.json); check the path")
        runs += [read_run(folder) for folder in sorted(found, key=_natural)]
    return list({run.folder.resolve(): run for run in runs}.values())


def unfinished_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the run folders below these paths that have no summary.json. `find_runs` does not return them."""
    configs = [file for path in paths for file in Path(path).rglob("config.json")]
    folders = [file.parent for file in configs if not (file.parent / "summary.json").exists() and _is_run(file)]
    return sorted({folder.resolve(): folder for folder in folders}.values(), key=_natural)


def _is_run(path: Path) -> bool:
    try:
        return "config" in read_record(path.parent)
    except InputError:
        return False


def _natural(path: Path) -> list[str | float]:
    """Return a key that sorts numbers in names by value: 2 before 10, and 0.001 before 0.01."""
    parts = re.split(r"(\d+(?:\.\d+)?)", str(path))
    return [float(part) if i % 2 else part for i, part in enumerate(parts)]


@dataclass(frozen=True)
class Variant:
    """A group of runs that differ only in their seed."""

    runs: Sequence[Run]
    name: str = ""  # the settings that differ from other variants of a report

    @property
    def config(self) -> RunConfig:
        """Return the config of the runs. They differ only in the seed."""
        return self.runs[0].config

    @property
    def measure(self) -> Measure:
        """Return what the runs are judged by."""
        return env_row(self.config.env_name).measure

    @property
    def itrs(self) -> list[int]:
        """Return the iterations in which all runs were evaluated."""
        return sorted(set.intersection(*({*run.scores} for run in self.runs)))

    @property
    def steps(self) -> list[int]:
        """Return the numbers of gradient steps after which all runs were evaluated."""
        return sorted(set.intersection(*({*run.by_steps} for run in self.runs)))

    def result(self, name: str, itr: int | None = None) -> Result:
        """Return the result of the runs in iteration `itr`. None takes each run's last evaluated iteration."""
        itrs = [run.last if itr is None else itr for run in self.runs]
        pairs = list(zip(self.runs, itrs, strict=True))
        labels = [run.metrics[itr]["Expert_LabelsSoFar"] for run, itr in pairs]
        return Result(name, [run.scores[itr] for run, itr in pairs], float(np.mean(labels)), self.measure)

    @functools.cached_property
    def curve(self) -> list[Result]:
        """Return the results of all iterations in `itrs`."""
        return [self.result(self.name, itr) for itr in self.itrs]

    def after(self, steps: int) -> Result:
        """Return the result of the runs after this number of gradient steps."""
        return Result(self.name, [run.by_steps[steps] for run in self.runs], measure=self.measure)

    @property
    def expert(self) -> Result | None:
        """Return the result of the live expert in these runs, as one policy, or None if a run had no expert."""
        scores = {run.start: run.expert.scores for run in self.runs}  # equal episodes are counted once
        known = all(map(len, scores.values()))
        return Result.of_one_policy(EXPERT_ROW, [*scores.values()], self.measure) if known else None

    def metric(self, name: str, itr: int) -> float:
        """Return a value of metrics.csv, as the mean over the seeds, or NaN if it does not exist."""
        return float(np.mean([run.metrics[itr].get(name, np.nan) for run in self.runs]))


def group_runs(runs: Sequence[Run]) -> list[Variant]:
    """Return the variants, in the order of their first runs in `runs`.

    Raise `InputError` if a variant has two runs with the same seed, unless they begin with different clones.
    """
    variants: dict[str, list[Run]] = {}
    for run in runs:
        variants.setdefault(json.dumps(run.settings), []).append(run)
    for same in variants.values():
        seeds = [run.config.seed for run in same]
        if len({(run.config.seed, run.begins_with) for run in same}) < len(same):
            folders = ", ".join(str(run.folder) for run in same)
            raise InputError(f"runs with the same settings have seeds {seeds}: {folders}; give one run for each seed")
    return [Variant(sorted(same, key=lambda run: run.config.seed)) for same in variants.values()]


def differences(variants: Sequence[Variant]) -> list[str]:
    """Return the names of the settings in which variants differ that were made by the same command."""
    names: dict[str, None] = {}
    for command in dict.fromkeys(variant.config.command for variant in variants):
        first, *others = [variant.runs[0].settings for variant in variants if variant.config.command == command]
        names |= dict.fromkeys(name for name in first if any(other[name] != first[name] for other in others))
    return list(names)
