"""Reading run folders back, and putting together those that differ only in their seed."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import read_csv, reading
from rl_il.report.tables import Result
from rl_il.runs.folders import read_config, read_record

# What may differ between two runs of one variant: the seed, names, and what does not change the result.
NOT_COMPARED = ("seed", "logdir", "exp_name", "num_workers", "video_log_freq", "save_params")

Pairs = tuple[np.ndarray, np.ndarray]  # the returns (n,) and the lengths (n,) of one evaluation's episodes


@dataclass(frozen=True)
class Run:
    """A finished run, as its folder tells it."""

    folder: Path
    config: RunConfig
    record: dict[str, Any]  # config.json
    summary: dict[str, Any]  # summary.json
    metrics: list[dict[str, float]]  # the last row of each iteration; not-a-number where a cell is empty
    returns: dict[int, np.ndarray]  # iteration to the returns of its last evaluation's episodes
    lengths: dict[int, np.ndarray]
    by_steps: dict[int, np.ndarray]  # gradient steps so far to returns: every evaluation; older runs have none
    expert_returns: np.ndarray
    expert_lengths: np.ndarray

    @property
    def last(self) -> int:
        """Return the last evaluated iteration."""
        return max(self.returns)


def read_run(folder: Path) -> Run:
    """Read a finished run's folder. Raise `InputError` naming the file that is missing or not as it should be."""
    record, config = read_record(folder), read_config(folder)
    path = folder / "summary.json"
    try:
        with reading("file of a finished run"):
            summary = json.loads(path.read_text())
            summary = {name: float("nan") if value is None else value for name, value in summary.items()}
            path = folder / "metrics.csv"
            metrics = _last_rows(read_csv(path))
            path = folder / "episodes.csv"
            learner, expert = _evaluations(read_csv(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not learner:
        raise InputError(f"{path}: holds no evaluation episodes; was the run interrupted before its first?")
    for returns, lengths in (expert, *learner.values()):
        if not (np.isfinite(returns).all() and (lengths >= 0).all()):
            raise InputError(f"{path}: holds a return or a length that no episode has")
    if not all(0 <= itr < len(metrics) and "Expert_LabelsSoFar" in metrics[itr] for itr, _ in learner):
        raise InputError(f"{folder / 'metrics.csv'}: lacks an iteration that episodes.csv has, or Expert_LabelsSoFar")
    last = {itr: learner[itr, steps] for itr, steps in sorted(learner)}  # a later evaluation takes an earlier's place
    return Run(
        folder,
        config,
        record,
        summary,
        metrics,
        returns={itr: returns for itr, (returns, _) in last.items()},
        lengths={itr: lengths for itr, (_, lengths) in last.items()},
        by_steps={steps: returns for (_, steps), (returns, _) in learner.items() if steps},
        expert_returns=expert[0],
        expert_lengths=expert[1],
    )


def _last_rows(rows: Sequence[dict[str, str]]) -> list[dict[str, float]]:
    """Return the last row of each iteration, as numbers. An iteration has a row for each of its evaluations."""
    numbers = [{name: float(cell) if cell else float("nan") for name, cell in row.items()} for row in rows]
    last = {int(row["iteration"]): row for row in numbers}
    return [last[itr] for itr in range(len(last))]


def _evaluations(rows: Sequence[dict[str, str]]) -> tuple[dict[tuple[int, int], Pairs], Pairs]:
    """Return the learner's episodes by iteration and gradient steps so far, and the expert's."""
    found: dict[tuple[str, int, int], list[tuple[float, int]]] = {("expert", 0, 0): []}
    for row in rows:
        steps = int(row.get("gradient_steps") or 0) if row["policy"] == "learner" else 0
        episode = float(row["return"]), int(row["length"])
        found.setdefault((row["policy"], int(row["iteration"]), steps), []).append(episode)
    pairs = {key: (np.array([r for r, _ in of]), np.array([n for _, n in of], int)) for key, of in found.items()}
    return {key[1:]: pair for key, pair in pairs.items() if key[0] == "learner"}, pairs["expert", 0, 0]


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Return every finished run in these folders, or anywhere below them, in the order of their names.

    Raise `InputError` where there is none.
    """
    runs = []
    for path in map(Path, paths):
        found = [file.parent for file in path.rglob("summary.json")]
        # An ablation also keeps summaries of what was not trained.
        found = [folder for folder in found if folder == path or (folder / "config.json").exists()]
        if not found:
            raise InputError(f"{path}: holds no finished run, whose folder has a summary.json; is the path right?")
        runs += [read_run(folder) for folder in sorted(found, key=_natural)]
    return list({run.folder.resolve(): run for run in runs}.values())


def _natural(path: Path) -> list[str | float]:
    """Return a key that sorts 2 before 10, and 0.001 before 0.01."""
    parts = re.split(r"(\d+(?:\.\d+)?)", str(path))
    return [float(part) if i % 2 else part for i, part in enumerate(parts)]


@dataclass(frozen=True)
class Variant:
    """Runs that differ only in their seed."""

    runs: Sequence[Run]
    name: str = ""  # what sets it apart from a report's others

    @property
    def config(self) -> RunConfig:
        """Return the config of all of them, up to the seed."""
        return self.runs[0].config

    @property
    def itrs(self) -> list[int]:
        """Return the iterations that all of them evaluated."""
        return sorted(set.intersection(*({*run.returns} for run in self.runs)))

    @property
    def steps(self) -> list[int]:
        """Return the numbers of gradient steps after which all of them were evaluated."""
        return sorted(set.intersection(*({*run.by_steps} for run in self.runs)))

    def result(self, name: str, itr: int | None = None) -> Result:
        """Return what the runs scored in an iteration; None: each in its last."""
        itrs = [run.last if itr is None else itr for run in self.runs]
        pairs = list(zip(self.runs, itrs, strict=True))
        labels = [run.metrics[itr]["Expert_LabelsSoFar"] for run, itr in pairs]
        return Result(name, [run.returns[itr] for run, itr in pairs], float(np.mean(labels)))

    @functools.cached_property
    def curve(self) -> list[Result]:
        """Return the results of all iterations."""
        return [self.result(self.name, itr) for itr in self.itrs]

    def after(self, steps: int) -> Result:
        """Return what the runs scored after so many gradient steps."""
        return Result(self.name, [run.by_steps[steps] for run in self.runs])

    @property
    def expert(self) -> Result | None:
        """Return what the live expert scored in these runs; None where a run had none."""
        returns = [run.expert_returns for run in self.runs]
        return Result("expert, measured now", returns) if all(map(len, returns)) else None

    def metric(self, name: str, itr: int) -> float:
        """Return a column of metrics.csv, mean over the seeds; not-a-number where there is none."""
        return float(np.mean([run.metrics[itr].get(name, np.nan) for run in self.runs]))


def compared(config: RunConfig, *without: str) -> dict[str, Any]:
    """Return the settings that set a variant apart, `without` those."""
    return {name: value for name, value in asdict(config).items() if name not in (*NOT_COMPARED, *without)}


def group_runs(runs: Sequence[Run]) -> list[Variant]:
    """Return the runs, those of one variant together, in the order in which the first of each came."""
    variants: dict[str, list[Run]] = {}
    for run in runs:
        variants.setdefault(json.dumps(compared(run.config)), []).append(run)
    for same in variants.values():
        seeds = [run.config.seed for run in same]
        if len({*seeds}) < len(seeds):
            folders = ", ".join(str(run.folder) for run in same)
            raise InputError(f"the same run twice, with seeds {seeds}: {folders}; give each run once")
    return [Variant(sorted(same, key=lambda run: run.config.seed)) for same in variants.values()]


def differences(variants: Sequence[Variant]) -> list[str]:
    """Return the names of the settings in which the variants differ."""
    first, *others = [compared(variant.config) for variant in variants]
    return [name for name in first if any(other[name] != first[name] for other in others)]
