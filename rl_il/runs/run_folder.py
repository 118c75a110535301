"""The folder of a run: the class that writes and restores it. README.md lists the files in it."""

from __future__ import annotations

import glob
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.envs import env_row
from rl_il.errors import InputError, RemovedError
from rl_il.files import atomic_write, remove_leftovers, write_csv, write_json
from rl_il.infrastructure.evaluation import Evaluation, return_scalars
from rl_il.infrastructure.progress import Watch
from rl_il.infrastructure.rl_trainer import Block, RLTrainer
from rl_il.infrastructure.rollouts import NO_STATISTICS, EpisodeStatistics, returns_and_lengths
from rl_il.infrastructure.video import RenderError, gif_bytes, record_frames
from rl_il.runs.checkpoint import Checkpoint, check_there, checksum, is_plain
from rl_il.runs.course_log import CourseLog
from rl_il.runs.inputs import SETTINGS
from rl_il.runs.tensorboard import EventWriter
from rl_il.runs.trackers import Tracker, start_tracker
from rl_il.seeding import stream
from rl_il.types import SCORE, Trajectory

SECONDS_BETWEEN_CHECKPOINTS = 60  # within an iteration; one more is written after it
KEPT = ("policy_itr_*.pt", "videos/*.gif", "events.out.tfevents*", "steps/events.out.tfevents*")
"""The files that a run writes and does not need again. If one of them is removed, a note says so."""
LOSS_WINDOW = 100  # gradient steps over which a logged loss is averaged
VIDEO_FRAMES = 150  # the maximum; without a GPU, MuJoCo needs 40 ms for each


class RunFolder:
    """The folder of a run. It writes what the run produces, and restores a run that was stopped.

    Args:
      path: the folder; it exists.
      config: the run's settings.
      keep_data: whether to keep the collected data after the run.
      env: the environment; the videos are recorded in one that is made like it.

    Attributes:
      evaluations: the rows of metrics.csv so far.
      expert: the numbers of the expert's evaluation episodes.
    """

    def __init__(self, path: Path, config: RunConfig, keep_data: bool = True, env: gym.Env | None = None):
        self.path, self.config, self.keep_data, self.env = path, config, keep_data, env
        self.evaluations: list[Evaluation] = []
        self.expert = NO_STATISTICS
        self.checkpoint = Checkpoint(path)
        self._events, self._step_events = EventWriter(path), EventWriter(path / "steps")
        self._course_log = CourseLog(path / "log.csv", config.log_interval)
        self._tracker: Tracker | None = None
        self._data: dict[str, str] = {}  # the data file of each iteration, and its checksum
        self._data_scalars: dict[str, float] = {}  # the course's scalars of the iteration's data
        self._initial_return = math.nan  # the mean return of the demonstrations
        self._losses: list[float] = []  # the iteration's last losses, including all that are not logged yet
        self._logged_steps = 0  # the iteration's gradient steps whose losses are logged
        self._files: set[str] = set()  # what was there of `KEPT` after the last write
        self._last_checkpoint = time.perf_counter()
        self._can_render = True

    # Saving and restoring --------------------------------------------------------------------------------

    def save(
        self, block: Block, evaluation: Evaluation | None, trainer: RLTrainer, watch: Watch
    ) -> Evaluation | None:
        """Write what a block produced: data, scalars, policy, video, and the checkpoint last.

        Return the row that was added to metrics.csv, if there was an evaluation.
        """
        self.check_exists()
        with watch.phase("log"):
            if block.trajectories:
                self._add_data(block.itr, block.trajectories)
            self._log_losses(block)
            row = self._log(block, evaluation, watch.elapsed()) if evaluation else None
            self._course_log.add(block, row)
            if block.ends_iteration:
                trainer.policy.save(self.path / f"policy_itr_{block.itr}.pt")
        frequency = self.config.video_log_freq
        if (
            block.ends_iteration
            and self._can_render
            and frequency > 0
            and (block.ends_run or self.config.is_due(block.itr, frequency))
        ):
            with watch.phase("video"):
                self._record_video(block.itr, trainer)
        late = time.perf_counter() - self._last_checkpoint > SECONDS_BETWEEN_CHECKPOINTS
        if (block.ends_iteration and not block.ends_run) or (late and not block.ends_iteration):
            with watch.phase("log"):
                self.save_checkpoint(trainer, watch)
        self._files = self._kept_files()
        return row

    def save_stopped(self, trainer: RLTrainer, watch: Watch) -> None:
        """Write a checkpoint after the last block, and the policy if its iteration has begun."""
        self.check_exists()
        self.save_checkpoint(trainer, watch)
        if trainer.steps_done:
            trainer.policy.save(self.path / f"policy_itr_{trainer.itr}.pt")

    def save_checkpoint(self, trainer: RLTrainer, watch: Watch) -> None:
        """Write a checkpoint: what is needed to continue after the last block."""
        log = {
            "evaluations": [_to_plain(evaluation) for evaluation in self.evaluations],
            "expert": [values.tolist() for values in self.expert],
            "losses": self._losses,
            "logged_steps": self._logged_steps,
            "seconds": watch.elapsed(),
            "wall_seconds": dict(watch.seconds),
            "files": sorted(self._kept_files()),
        }
        state = trainer.state_dict()
        if not is_plain(state.get("rule")):
            raise InputError(
                f"{type(trainer.rule).__name__}.state_dict must return numbers, strings, tensors, and lists and dicts"
                f" of them, since a checkpoint holds nothing else; got {state['rule']!r:.200}"
            )
        self._events.sync()
        self._step_events.sync()
        self.checkpoint.save({"trainer": state, "log": log}, self._data)
        self._last_checkpoint = time.perf_counter()

    def restore(self, trainer: RLTrainer, watch: Watch) -> bool:
        """Restore everything to the last checkpoint; return whether there is one."""
        remove_leftovers(self.path)
        saved = self.checkpoint.load()
        if saved is None:
            self._events.purge(0)
            self._step_events.purge(0)
            return False
        (state, self._data), log = saved, saved[0]["log"]
        self._describe(0, trainer.demonstrations)
        trainer.load_state_dict(state["trainer"], self._collected())
        self.evaluations = [_from_plain(row) for row in log["evaluations"]]
        self.expert = EpisodeStatistics.from_lists(*log["expert"])
        self._losses, self._logged_steps = log["losses"], log["logged_steps"]
        watch.seconds |= log["wall_seconds"]
        watch.begin(log["seconds"])
        self._events.purge(trainer.itr)
        self._step_events.purge(trainer.gradient_steps + 1)
        self._course_log.restore(trainer.gradient_steps)
        self._files = {*log.get("files", ())}
        self.check_exists()
        self._write_tables()
        return True

    def _collected(self) -> Iterator[list[Trajectory]]:
        """Yield the data of the iterations one by one, because pictures need much memory."""
        for itr, name in enumerate(self._data, 1):
            trajectories = load_trajectories(self.path / name, may_lack_labels=True)
            self._describe(itr, trajectories)
            yield trajectories

    def begin(self, description: dict[str, Any]) -> None:
        """Write what a resume compares, and config.json after it: with that, the run can be resumed."""
        write_json(self.path / SETTINGS, {name: description[name] for name in ("config", "inputs")})
        write_json(self.path / "config.json", description)

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the summary, and remove what a finished run does not need."""
        self.check_exists()
        write_json(self.path / "summary.json", summary)
        self.check_exists()  # it may have been removed between the last two files
        if summary["status"] == "finished":
            self.tidy_up()

    def tidy_up(self) -> None:
        """Remove the checkpoint, and temporary files that a killed process left."""
        self.checkpoint.clear()
        remove_leftovers(self.path)
        if not self.keep_data:
            for path in self.path.glob("data/itr_*.npz"):
                path.unlink()
            if (self.path / "data").is_dir():
                (self.path / "data").rmdir()

    def close(self) -> None:
        """Close the event files and the tracker."""
        self.close_events()
        if self._tracker is not None:
            self._tracker.close()

    def close_events(self) -> None:
        """Close the event files; the next events are written into new ones."""
        self._events.close()
        self._step_events.close()

    def start_tracker(self) -> None:
        """Send the settings to the tracker that the user chose."""
        self._tracker = start_tracker(self.config, self.path)

    def check_exists(self) -> None:
        """Raise `RemovedError` if what is in the folder was removed: what is written now would be half a run.

        Raise `InputError` if only data that a resume needs are missing. If other files are, print a note.
        """
        if not (self.path / "config.json").exists():
            raise RemovedError(self.path)
        for name in self._data:
            check_there(self.path / name)
        missing = sorted(self._files - (files := self._kept_files()))
        self._files = files
        if missing:
            self.close_events()
            print(f"note: {self.path}: {', '.join(missing)}: removed; it is not written again", file=sys.stderr)

    def _kept_files(self) -> set[str]:
        return {name for pattern in KEPT for name in glob.glob(pattern, root_dir=self.path)}

    # What is measured ---------------------------------------------------------------------------------------

    def log_expert(self, episodes: EpisodeStatistics) -> None:
        """Write the expert's evaluation episodes."""
        self.check_exists()
        self.expert = episodes
        self._write_tables()

    def _log(self, block: Block, evaluation: Evaluation, elapsed: float) -> Evaluation:
        """Add a row to metrics.csv, the episodes to episodes.csv, and points to TensorBoard's curves."""
        loss = {"Training Loss": float(np.mean(self._losses[-LOSS_WINDOW:]))} if self._losses else {}
        scalars = evaluation.scalars | loss | self._data_scalars | block.scalars
        if math.isfinite(self._initial_return):
            scalars["Initial_DataCollection_AverageReturn"] = self._initial_return
        scalars |= block.counts.scalars() | {"TimeSinceStart": elapsed}
        row = replace(evaluation, gradient_steps=block.gradient_steps, scalars=scalars)
        self.evaluations.append(row)
        self._write_tables()
        if len(row.returns):
            self._log_step(row.gradient_steps, evaluation.scalars)
            if block.ends_iteration:
                self._events.scalars(block.itr, scalars)
                if block.ends_run:
                    self._events.settings(block.itr, asdict(self.config) | {"logdir": None})
        return row

    def _log_losses(self, block: Block) -> None:
        """Write to TensorBoard the mean of each hundred losses, and at the iteration's end that of the rest."""
        if block.steps == len(block.losses):  # the iteration's first block
            self._losses, self._logged_steps = [], 0
        self._losses += block.losses.tolist()
        pending = self._losses[len(self._losses) - (block.steps - self._logged_steps) :]
        first = block.gradient_steps - block.steps  # gradient steps of the iterations before
        while pending and (len(pending) >= LOSS_WINDOW or block.ends_iteration):
            window, pending = pending[:LOSS_WINDOW], pending[LOSS_WINDOW:]
            self._logged_steps += len(window)
            self._log_step(first + self._logged_steps, {"Training Loss": float(np.mean(window))})
        self._losses = self._losses[-2 * LOSS_WINDOW :]

    def _log_step(self, gradient_steps: int, scalars: dict[str, float]) -> None:
        self._step_events.scalars(gradient_steps, scalars)
        if self._tracker is not None:
            self._tracker.log(scalars, gradient_steps)

    def _write_tables(self) -> None:
        rows = [
            {"iteration": row.itr, "gradient_steps": row.gradient_steps, **row.scalars} for row in self.evaluations
        ]
        write_csv(self.path / "metrics.csv", rows)
        groups = [("expert", 0, 0, self.expert)]
        groups += [("learner", row.itr, row.gradient_steps, row) for row in self.evaluations]
        columns = {"return": "returns", "length": "lengths"}
        if env_row(self.config.env_name).measure is SCORE:
            columns["score"] = "scores"
        write_csv(
            self.path / "episodes.csv",
            [
                {"policy": policy, "iteration": itr, "gradient_steps": steps, **dict(zip(columns, row, strict=True))}
                for policy, itr, steps, of in groups
                for row in zip(*(getattr(of, name).tolist() for name in columns.values()), strict=True)
            ],
        )

    # Data and videos ----------------------------------------------------------------------------------------

    def _add_data(self, itr: int, trajectories: list[Trajectory]) -> None:
        """Compute the scalars of the iteration's data, and write what was collected in it."""
        self._describe(itr, trajectories)
        if itr:
            name = f"data/itr_{itr}.npz"
            save_trajectories(self.path / name, trajectories, self.config.env_settings | {"iteration": itr})
            self._data[name] = self._checksum(name)

    def _checksum(self, name: str) -> str:
        try:
            return checksum(self.path / name)
        except FileNotFoundError as error:
            raise RemovedError(self.path) from error

    def _describe(self, itr: int, trajectories: list[Trajectory]) -> None:
        """Compute the course's scalars of the iteration's data.

        If a file of demonstrations has no rewards or no ends of episodes, its returns are unknown.
        """
        if not trajectories:  # reinforcement learning stores no episodes
            return
        returns, lengths = returns_and_lengths(trajectories)
        whole = itr > 0 or all(t.terminated or t.truncated for t in trajectories)
        known = whole and np.isfinite(returns).all()
        self._data_scalars = return_scalars("Train", returns, lengths) if known else {}
        if known and itr == 0:
            self._initial_return = float(returns.mean())

    def _record_video(self, itr: int, trainer: RLTrainer) -> None:
        """Record one episode. If the machine cannot render, print a note once and record no more videos."""
        config, seed = self.config, int(stream(self.config.seed, "video", itr).integers(2**62))
        try:
            frames, fps = record_frames(self.env, trainer.policy.actor(), seed, config.ep_len, VIDEO_FRAMES)
        except RenderError as error:
            self._can_render = False
            print(f"note: no videos ({error})", file=sys.stderr)
            return
        gif = gif_bytes(frames, fps)
        with atomic_write(self.path / "videos" / f"eval_rollouts_itr_{itr}.gif") as file:
            file.write(gif)
        self._events.gif(itr, "eval_rollouts", gif, frames.shape[1:])


def _to_plain(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation's fields as plain Python numbers and lists."""
    fields = {name: getattr(evaluation, name) for name in ("itr", "gradient_steps", "scalars")}
    return fields | {name: getattr(evaluation, name).tolist() for name in EpisodeStatistics._fields}


def _from_plain(fields: dict[str, Any]) -> Evaluation:
    """Return the evaluation whose fields `_to_plain` returned."""
    lists = {name: fields[name] for name in EpisodeStatistics._fields if name in fields}  # scores are recent
    return Evaluation(**fields | EpisodeStatistics.from_lists(**lists)._asdict())
