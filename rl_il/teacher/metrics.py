"""What a teaching run measures an episode: its run folder, TensorBoard and, if asked for, MLflow."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.errors import InputError
from rl_il.infrastructure.logger import Logger
from rl_il.infrastructure.rollouts import RolloutSource, returns_and_lengths, sample_n_trajectories
from rl_il.infrastructure.seeding import stream
from rl_il.teacher.learner import Snapshot
from rl_il.teacher.session import Episode
from rl_il.teacher.settings import TeachConfig


def import_mlflow() -> Any:
    """The optional package. Raises `InputError` with the command that installs it."""
    try:
        import mlflow
    except ImportError as error:
        raise InputError("--tracker mlflow: needs `pip install mlflow`") from error
    return mlflow


class MLflowTracker:
    """Sends settings and metrics to MLflow, wherever its own environment variables say."""

    def __init__(self, config: TeachConfig, folder: Path):
        self.mlflow = import_mlflow()
        self.broken = False
        try:
            self.mlflow.set_experiment("rl_il")
            self.mlflow.start_run(run_name=folder.name)
            self.mlflow.log_params(dataclasses.asdict(config))
        except Exception as error:  # of MLflow, its database, or the network
            raise InputError(
                f"--tracker mlflow: {_first_line(error)}; set MLFLOW_TRACKING_URI, or drop it"
            ) from error

    def log(self, scalars: dict[str, float], episode: int) -> None:
        """Sends one episode's metrics."""
        if self.broken:
            return
        try:
            self.mlflow.log_metrics({name.replace(" ", "_"): scalars[name] for name in scalars}, step=episode)
        except Exception as error:  # the run folder has them all; teaching goes on
            self.broken = True
            print(f"note: MLflow gets no more metrics: {_first_line(error)}", file=sys.stderr)

    def close(self) -> None:
        """Ends the run there."""
        if not self.broken:
            self.mlflow.end_run()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


class Metrics:
    """Writes a row an episode, and remembers them for the page."""

    def __init__(self, logger: Logger, tracker: MLflowTracker | None = None):
        self.logger, self.tracker = logger, tracker
        self.history: list[dict[str, Any]] = []  # an episode's message to the page each
        self.pending: dict[str, float] = {}  # measured since the last row

    def log(self, episode: Episode, labels: dict[str, int], updates: int, loss: float | None) -> dict[str, Any]:
        """Writes the episode's row; returns what the page is told."""
        trajectory = episode.trajectory
        scalars = {
            "Return": trajectory.episode_return,
            "Length": len(trajectory),
            "Intervention_Rate": episode.intervention_rate,
            "Labels_Human": labels["human"],
            "Labels_Approved": labels["approved"],
            "Snapshot": episode.snapshot,
            "Updates": updates,
        }
        if loss is not None:
            scalars["Training Loss"] = loss
        scalars |= self.pending
        self.pending = {}
        self.logger.log_iteration(episode.number, scalars)
        if self.tracker:
            self.tracker.log(scalars, episode.number)
        message = {
            "type": "episode",
            "episode": episode.number,
            "return": trajectory.episode_return,
            "length": len(trajectory),
            "intervention_rate": episode.intervention_rate,
            "labels": dict(labels),
            "snapshot": episode.snapshot,
            "updates": updates,
            "loss": loss,
            "source": episode.mode,
            "ended": episode.ended,
            "snapshot_return": scalars.get("Snapshot_AverageReturn"),
        }
        self.history.append(message)
        return message

    def add_snapshot_return(self, updates: int, returns: np.ndarray) -> None:
        """What a snapshot scored alone; it stands in the next row."""
        self.pending = {"Snapshot_AverageReturn": float(returns.mean()), "Snapshot_Updates": updates}

    def close(self) -> None:
        """Closes the event file and the tracker."""
        self.logger.close()
        if self.tracker:
            self.tracker.close()


def measure(
    snapshot: Snapshot, source: RolloutSource, episodes: int, seed: int, itr: int, ep_len: int | None = None
) -> np.ndarray:
    """`(episodes,)` returns of the snapshot alone, on seeds that follow from `seed` and `itr`."""
    rng = stream(seed, "evaluation", itr)
    rollouts = sample_n_trajectories(source, deepcopy(snapshot.actor), episodes, rng, ep_len)
    return returns_and_lengths(list(rollouts))[0]


class Background:
    """Runs one job at a time in a thread, and hands out its result when it is asked for."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._result: list[Any] = []

    def begin(self, job: Callable[[], Any]) -> bool:
        """Begins the job, unless one is under way or its result was not taken yet."""
        if self._thread is not None:
            return False
        self._thread = threading.Thread(target=lambda: self._result.append(self._run(job)), daemon=True)
        self._thread.start()
        return True

    @staticmethod
    def _run(job: Callable[[], Any]) -> Any:
        try:
            return job()
        except Exception as error:  # it is raised where the result is taken
            return error

    def take(self, wait: bool = False) -> Any:
        """The result, once; None while there is none. Raises what the job raised."""
        if self._thread is None or (self._thread.is_alive() and not wait):
            return None
        self._thread.join()
        self._thread, result = None, self._result.pop()
        if isinstance(result, Exception):
            raise result
        return result
