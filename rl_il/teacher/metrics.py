"""The metrics of a teaching session: a row for each episode in metrics.csv, TensorBoard and optionally a tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rl_il.envs import EnvRow
from rl_il.files import write_csv
from rl_il.infrastructure.counting import Counts
from rl_il.infrastructure.rollouts import RolloutSource, look_at, sample_n_trajectories
from rl_il.runs.tensorboard import EventWriter
from rl_il.runs.trackers import Tracker
from rl_il.seeding import stream
from rl_il.statistics import bootstrap_interval
from rl_il.teacher.session import Episode
from rl_il.teacher.settings import TeachConfig
from rl_il.types import LEARNER, RETURN, Actor, Measure

COLUMNS = {"iteration": "episode", "Return": "return", "Length": "length", "Intervention_Rate": "intervention_rate"}
COLUMNS |= {"Labels_Approved": "approved", "Snapshot": "snapshot", "Updates": "updates"}
COLUMNS |= {"Training Loss": "loss", "Snapshot_AverageReturn": "snapshot_return"}
COLUMNS |= {"Snapshot_Updates": "snapshot_updates"}
"""The columns of metrics.csv, with the names of their values in a message to the page. The counts follow them."""
UNMEASURED = dict.fromkeys(("snapshot_return", "snapshot_interval", "snapshot_updates"))


def row_of(message: dict[str, Any], measure: Measure = RETURN) -> dict[str, float]:
    """Return the row of metrics.csv for the page's message about an episode, without unknown values.

    Columns with scores are called so, although the message calls them `return`.
    """
    values = {**message, **message["labels"]}
    counts = message.get("counts", {"Expert_LabelsSoFar": values["human"]})  # earlier versions counted only labels
    columns = {name.replace("Return", measure.name.capitalize()): value for name, value in COLUMNS.items()}
    return {column: values[name] for column, name in columns.items() if values[name] is not None} | counts


class Metrics:
    """The metrics: a row for each episode. The messages about episodes are kept in `history`."""

    def __init__(self, folder: Path, tracker: Tracker | None = None, row: EnvRow | None = None):
        self.folder, self.events, self.tracker = folder, EventWriter(folder), tracker
        self.row = row or EnvRow()
        self.history: list[dict[str, Any]] = []
        self._measured: dict[str, Any] = dict(UNMEASURED)  # since the last row

    def restore(self, episodes: int, history: list[dict[str, Any]]) -> None:
        """Continue after `episodes` episodes. TensorBoard then ignores what it has about later ones."""
        self.history = history
        self.events.purge(episodes)

    def log(
        self, episode: Episode, labels: dict[str, int], counts: Counts, updates: int, loss: float | None
    ) -> dict[str, Any]:
        """Write the episode's row, and return the message about it. `labels` and `counts` are those so far."""
        message = {
            "type": "episode",
            "episode": episode.number,
            "return": self.row.score(episode.trajectory),
            "length": len(episode.trajectory),
            "intervention_rate": float(np.mean(episode.trajectory.source != LEARNER)),
            "labels": labels,
            "counts": counts.scalars(),
            "snapshot": episode.snapshot,
            "updates": updates,
            "loss": loss,
            "source": episode.mode,
            "ended": episode.ended,
            **self._measured,
        }
        self._measured = dict(UNMEASURED)
        self.history.append(message)
        write_csv(self.folder / "metrics.csv", [row_of(each, self.row.measure) for each in self.history])
        scalars = row_of(message, self.row.measure)
        del scalars["iteration"]
        self.events.scalars(episode.number, scalars)
        self.events.sync()
        if self.tracker:
            self.tracker.log(scalars, episode.number)
        return message

    def add_snapshot_return(self, updates: int, scores: np.ndarray) -> dict[str, Any]:
        """Keep a snapshot's measurement for the next row, and return the message about it.

        The interval is for this one policy. It is None if there are fewer than five episodes.
        """
        mean, interval = float(scores.mean()), bootstrap_interval([scores])
        known = None if np.isnan(interval).any() else list(interval)
        self._measured = {"snapshot_return": mean, "snapshot_interval": known, "snapshot_updates": updates}
        about = {"return": mean, "interval": known, "updates": updates, "measure": self.row.measure.name}
        return {"type": "snapshot_return", "episodes": len(scores), **about}

    def close(self) -> None:
        """Close the event file and the tracker."""
        self.events.close()
        if self.tracker:
            self.tracker.close()


def measure(actor: Actor, source: RolloutSource, config: TeachConfig) -> np.ndarray:
    """Return `(eval_episodes,)` float64, the scores of whole episodes in which `actor` acts alone.

    All measurements of a session, also that of the expert, use the same episode seeds, so they are paired.
    """
    rng = stream(config.seed, "evaluation")
    episodes = sample_n_trajectories(source, actor, config.eval_episodes, rng, config.ep_len)
    return look_at(episodes, config.env_name)[0].scores
