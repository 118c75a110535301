"""What a teaching run measures in each episode, for its run folder, TensorBoard and, if asked for, MLflow."""

from __future__ import annotations

import dataclasses
import sys
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.errors import InputError
from rl_il.files import write_csv
from rl_il.infrastructure.rollouts import RolloutSource, returns_and_lengths, sample_n_trajectories
from rl_il.runs.tensorboard import EventWriter
from rl_il.seeding import stream
from rl_il.teacher.session import Episode
from rl_il.teacher.settings import TeachConfig
from rl_il.types import LEARNER

if TYPE_CHECKING:  # it imports torch
    from rl_il.teacher.learner import Snapshot


def import_mlflow() -> Any:
    """Return the optional package. Raise `InputError` with the command that installs it."""
    try:
        import mlflow
    except ImportError as error:
        raise InputError("--tracker mlflow: needs `pip install mlflow`") from error
    return mlflow


class MLflowTracker:
    """Sends settings and metrics to MLflow, to the place that its own environment variables name."""

    def __init__(self, config: TeachConfig, folder: Path):
        self.mlflow = import_mlflow()
        self.broken = False
        try:
            self.mlflow.set_experiment("rl_il")
            self.mlflow.start_run(run_name=folder.name)
            self.mlflow.log_params(dataclasses.asdict(config))
        except Exception as error:  # of MLflow, its database, or the network
            why = _first_line(error)
            raise InputError(f"--tracker mlflow: {why}; set MLFLOW_TRACKING_URI, or drop it") from error

    def log(self, scalars: dict[str, float], episode: int) -> None:
        """Send one episode's metrics."""
        if self.broken:
            return
        try:
            self.mlflow.log_metrics({name.replace(" ", "_"): scalars[name] for name in scalars}, step=episode)
        except Exception as error:  # the run folder has them all; teaching goes on
            self.broken = True
            print(f"note: MLflow gets no more metrics: {_first_line(error)}", file=sys.stderr)

    def close(self) -> None:
        """End the run there."""
        if not self.broken:
            self.mlflow.end_run()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


COLUMNS = {"iteration": "episode", "Return": "return", "Length": "length", "Intervention_Rate": "intervention_rate"}
COLUMNS |= {"Labels_Human": "human", "Labels_Approved": "approved", "Snapshot": "snapshot", "Updates": "updates"}
COLUMNS |= {"Training Loss": "loss", "Snapshot_AverageReturn": "snapshot_return"}
COLUMNS |= {"Snapshot_Updates": "snapshot_updates"}
"""The columns of metrics.csv, and what a message to the page calls them."""


def row_of(message: dict[str, Any]) -> dict[str, float]:
    """Return the row of metrics.csv that says of an episode what the page was told; what is unknown is left out."""
    values = {**message, **message["labels"]}
    return {column: values[name] for column, name in COLUMNS.items() if values[name] is not None}


class Metrics:
    """Writes a row for each episode, and keeps what the page is told of it in `history`."""

    def __init__(self, folder: Path, tracker: MLflowTracker | None = None):
        self.folder, self.events, self.tracker = folder, EventWriter(folder), tracker
        self.history: list[dict[str, Any]] = []
        self._measured: dict[str, float | None] = {"snapshot_return": None, "snapshot_updates": None}  # since a row

    def restore(self, episodes: int, history: list[dict[str, Any]]) -> None:
        """Go on after so many episodes; TensorBoard drops what it has of later ones."""
        self.history = history
        self.events.purge(episodes)

    def log(self, episode: Episode, labels: dict[str, int], updates: int, loss: float | None) -> dict[str, Any]:
        """Write the episode's row; return what the page is told."""
        message = {
            "type": "episode",
            "episode": episode.number,
            "return": episode.trajectory.episode_return,
            "length": len(episode.trajectory),
            "intervention_rate": float(np.mean(episode.trajectory.source != LEARNER)),
            "labels": labels,
            "snapshot": episode.snapshot,
            "updates": updates,
            "loss": loss,
            "source": episode.mode,
            "ended": episode.ended,
            **self._measured,
        }
        self._measured = dict.fromkeys(self._measured)
        self.history.append(message)
        write_csv(self.folder / "metrics.csv", [row_of(each) for each in self.history])
        scalars = row_of(message)
        del scalars["iteration"]
        self.events.scalars(episode.number, scalars)
        if self.tracker:
            self.tracker.log(scalars, episode.number)
        return message

    def add_snapshot_return(self, updates: int, returns: np.ndarray) -> dict[str, Any]:
        """Keep what a snapshot scored alone for the next row; return what the page is told."""
        mean = float(returns.mean())
        self._measured = {"snapshot_return": mean, "snapshot_updates": updates}
        return {"type": "snapshot_return", "updates": updates, "return": mean, "episodes": len(returns)}

    def close(self) -> None:
        """Close the event file and the tracker."""
        self.events.close()
        if self.tracker:
            self.tracker.close()


def measure(snapshot: Snapshot, source: RolloutSource, config: TeachConfig, itr: int) -> np.ndarray:
    """Return `(eval_episodes,)` returns of the snapshot alone, on seeds that follow from the run's and `itr`."""
    rng, actor = stream(config.seed, "evaluation", itr), deepcopy(snapshot.actor)  # the original may be playing
    episodes = sample_n_trajectories(source, actor, config.eval_episodes, rng, config.ep_len)
    return returns_and_lengths(list(episodes))[0]
