"""Reading run folders back, and putting together those that differ only in their seed."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.datasets.quoting import one_line
from rl_il.errors import InputError
from rl_il.options import from_json
from rl_il.report.tables import Result

# What may differ between two runs of one variant: the seed, names, and what does not change the result.
NOT_COMPARED = ("seed", "logdir", "exp_name", "num_workers", "video_log_freq", "save_params")
# What a damaged file of a run raises. JSON that is nested too deep: a RecursionError.
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error)
MOST_STEPS = 10**15  # of an episode; the next larger numbers are no longer exact as floats


@dataclass(frozen=True)
class Run:
    """A finished run, as its folder tells it."""

    folder: Path
    config: RunConfig
    record: dict[str, Any]  # config.json
    summary: dict[str, Any]  # summary.json
    metrics: list[dict[str, float]]  # a row an iteration; not-a-number where a cell is empty
    returns: dict[int, np.ndarray]  # iteration to the returns of its evaluation episodes
    lengths: dict[int, np.ndarray]
    expert_returns: np.ndarray
    expert_lengths: np.ndarray

    @property
    def last(self) -> int:
        """The last evaluated iteration."""
        return max(self.returns)


def read_run(folder: Path) -> Run:
    """Reads a finished run's folder. Raises `InputError` naming the file that is missing or not as it should be."""
    path = folder
    try:
        path = folder / "config.json"
        record = json.loads(path.read_text())
        config = from_json(RunConfig, record["config"])
        path = folder / "summary.json"
        summary = json.loads(path.read_text())
        summary = {name: float("nan") if value is None else value for name, value in summary.items()}
        path = folder / "metrics.csv"
        metrics = [{name: _number(cell) for name, cell in row.items()} for row in _rows(path)]
        path = folder / "episodes.csv"
        episodes: dict[tuple[str, int], list[tuple[float, int]]] = {}
        for row in _rows(path):
            key = (row["policy"], int(row["iteration"]))
            episodes.setdefault(key, []).append((float(row["return"]), float(int(row["length"]))))
    except InputError as error:
        raise InputError(f"{path}: {one_line(error)}") from error
    except UNREADABLE as error:
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__} {one_line(error)[:200]}"
        raise InputError(f"{path}: cannot be read ({why}); is {folder} the folder of a finished run?") from error
    learner = {itr: np.array(pairs, np.float64).T for (policy, itr), pairs in episodes.items() if policy == "learner"}
    if not learner:
        raise InputError(f"{path}: holds no evaluation episodes; was the run interrupted before its first?")
    expert = np.array(episodes.get(("expert", 0), []), np.float64).reshape(-1, 2).T
    _check_numbers(folder, metrics, learner, expert)
    return Run(
        folder,
        config,
        record,
        summary,
        metrics,
        returns={itr: pairs[0] for itr, pairs in learner.items()},
        lengths={itr: pairs[1].astype(int) for itr, pairs in learner.items()},
        expert_returns=expert[0],
        expert_lengths=expert[1].astype(int),
    )


def _check_numbers(
    folder: Path, metrics: Sequence[dict[str, float]], learner: dict[int, np.ndarray], expert: np.ndarray
) -> None:
    """Raises `InputError` for numbers that no figure could show."""
    if not all(np.isfinite(pairs).all() for pairs in (expert, *learner.values())):
        raise InputError(f"{folder / 'episodes.csv'}: holds a return or a length that is no number")
    if not all((pairs[1] >= 0).all() and (pairs[1] <= MOST_STEPS).all() for pairs in (expert, *learner.values())):
        raise InputError(f"{folder / 'episodes.csv'}: holds a length that no episode has")
    if not all(0 <= itr < len(metrics) and "Expert_LabelsSoFar" in metrics[itr] for itr in learner):
        raise InputError(f"{folder / 'metrics.csv'}: lacks an iteration that episodes.csv has, or Expert_LabelsSoFar")


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Every finished run in these folders, or anywhere below them, in the order of their names.

    Raises `InputError` where there is none.
    """
    runs = []
    for path in map(Path, paths):
        found = [file.parent for file in path.rglob("summary.json")] if path.is_dir() else []
        # An ablation also keeps summaries of what was not trained.
        found = [folder for folder in found if folder == path or (folder / "config.json").exists()]
        if not found:
            what = "no run folder in it has a summary.json; is a run under way?"
            if not path.is_dir():
                what = "is a file; give the run folder" if path.exists() else "no such folder"
            raise InputError(f"{path}: {what}")
        runs += [read_run(folder) for folder in sorted(found, key=_natural)]
    return list({run.folder.resolve(): run for run in runs}.values())


@dataclass(frozen=True)
class Variant:
    """Runs that differ only in their seed."""

    runs: Sequence[Run]

    @property
    def config(self) -> RunConfig:
        """The config of all of them, up to the seed."""
        return self.runs[0].config

    @property
    def itrs(self) -> list[int]:
        """The iterations that all of them evaluated."""
        return sorted(set.intersection(*({*run.returns} for run in self.runs)))

    def result(self, name: str, itr: int | None = None) -> Result:
        """What the runs scored in an iteration; None: each in its last."""
        itrs = [run.last if itr is None else itr for run in self.runs]
        labels = [run.metrics[itr]["Expert_LabelsSoFar"] for run, itr in zip(self.runs, itrs, strict=True)]
        return Result(
            name,
            [run.returns[itr] for run, itr in zip(self.runs, itrs, strict=True)],
            float(np.mean(labels)),
        )

    @property
    def expert(self) -> Result | None:
        """What the live expert scored beside them; None where a run had none."""
        returns = [run.expert_returns for run in self.runs]
        return Result("expert, measured now", returns) if all(map(len, returns)) else None

    def metric(self, name: str, itr: int) -> float:
        """A column of metrics.csv, mean over the seeds; not-a-number where there is none."""
        return float(np.mean([run.metrics[itr].get(name, np.nan) for run in self.runs]))


def group_runs(runs: Sequence[Run]) -> list[Variant]:
    """The runs, those of one variant together, in the order in which the first of each came."""
    variants: dict[str, list[Run]] = {}
    for run in runs:
        compared = {name: value for name, value in asdict(run.config).items() if name not in NOT_COMPARED}
        variants.setdefault(json.dumps(compared), []).append(run)
    for same in variants.values():
        seeds = [run.config.seed for run in same]
        if len({*seeds}) < len(seeds):
            folders = ", ".join(str(run.folder) for run in same)
            raise InputError(f"the same run twice, with seeds {seeds}: {folders}; give each run once")
    return [Variant(sorted(same, key=lambda run: run.config.seed)) for same in variants.values()]


def differences(variants: Sequence[Variant]) -> list[str]:
    """The names of the settings in which the variants differ."""
    configs = [asdict(variant.config) for variant in variants]
    names = [name for name in configs[0] if name not in NOT_COMPARED]
    return [name for name in names if any(config[name] != configs[0][name] for config in configs)]


def _natural(path: Path) -> list[str | float]:
    """A key that sorts 2 before 10, and 0.001 before 0.01."""
    parts = re.split(r"(\d+(?:\.\d+)?)", str(path))
    return [float(part) if i % 2 else part for i, part in enumerate(parts)]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _number(cell: str | None) -> float:
    return float(cell) if cell else float("nan")
