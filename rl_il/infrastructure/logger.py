"""A run's folder: config.json, metrics.csv, episodes.csv, TensorBoard events, videos, summary.json."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import atomic_write, write_csv, write_json
from rl_il.infrastructure.events import drop_events
from rl_il.infrastructure.scalars import IterationResult
from rl_il.options import from_json


def new_folder(path: Path, numbered: bool) -> Path:
    """Makes the run folder: `path` itself, or, if it is taken and `numbered`, `path` with _2, _3, ... behind.

    Raises `InputError` for a folder that holds something already and one that cannot be made.
    """
    count = 1
    while True:
        folder = path if count == 1 else path.with_name(f"{path.name}_{count}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError as error:
            if not numbered:
                if folder.is_dir() and not any(folder.iterdir()):
                    return folder
                raise InputError(f"--logdir {folder}: must be new or empty; choose another") from error
            if not folder.exists():  # it is a parent that is in the way
                raise InputError(f"{folder}: cannot be made ({error.strerror})") from error
            count += 1
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror})") from error


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a run that came to its end: its summary is written last."""
    try:
        return json.loads((folder / "summary.json").read_text())["status"] == "finished"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def read_config(folder: Path) -> RunConfig:
    """The config of the run in this folder. Raises `InputError` where config.json is missing or broken."""
    path = folder / "config.json"
    try:
        return from_json(RunConfig, json.loads(path.read_text())["config"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__} {error}"
        raise InputError(f"{path}: cannot be read ({why}); is {folder} a run folder?") from error


class Logger:
    """Writes what a run measures. tensorboardX is only imported when the first scalar comes."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._rows: list[dict[str, Any]] = []
        self._episodes: list[dict[str, Any]] = []
        self._events = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.csv so far, of plain Python numbers."""
        return [
            {name: getattr(value, "item", lambda v=value: v)() for name, value in row.items()} for row in self._rows
        ]

    @property
    def episode_rows(self) -> list[dict[str, Any]]:
        """The rows of episodes.csv so far."""
        return [dict(row) for row in self._episodes]

    def go_on_from(self, first_itr: int, rows: list[dict[str, Any]], episodes: list[dict[str, Any]]) -> None:
        """Takes over what was logged before the run was stopped in iteration `first_itr`, and drops the rest."""
        self._rows = [row for row in rows if row["iteration"] < first_itr]
        self._episodes = [row for row in episodes if row["policy"] == "expert" or row["iteration"] < first_itr]
        drop_events(self.folder, first_itr)

    def start_again(self) -> None:
        """Drops what the folder's event files say; the tables are written anew from their beginning."""
        drop_events(self.folder, 0)

    def results(self) -> list[IterationResult]:
        """The iterations so far."""
        pairs: dict[int, list[tuple[float, int]]] = {}
        for row in self._episodes:
            if row["policy"] == "learner":
                pairs.setdefault(row["iteration"], []).append((row["return"], row["length"]))
        return [
            IterationResult(
                itr,
                {name: value for name, value in row.items() if name != "iteration"},
                np.array([episode_return for episode_return, _ in pairs.get(itr, [])], np.float64),
                np.array([length for _, length in pairs.get(itr, [])], int),
            )
            for itr, row in enumerate(self._rows)
        ]

    def episodes(self, policy: str, itr: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns and lengths of the episodes logged for the `learner` or the `expert`."""
        rows = [row for row in self._episodes if row["policy"] == policy and row["iteration"] == itr]
        return np.array([row["return"] for row in rows], np.float64), np.array([row["length"] for row in rows], int)

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes config.json."""
        write_json(self.folder / "config.json", config)

    def log_iteration(self, itr: int, scalars: dict[str, float], to_tensorboard: bool = True) -> None:
        """Adds a row to metrics.csv and, unless told otherwise, a point to each scalar's TensorBoard curve."""
        self.check_folder()
        self._rows.append({"iteration": itr, **scalars})
        write_csv(self.folder / "metrics.csv", self._rows)
        if to_tensorboard:
            from tensorboardX.summary import scalar

            for name, value in scalars.items():
                self._add_event(scalar(name, value), itr)

    def log_episodes(self, policy: str, itr: int, returns: np.ndarray, lengths: np.ndarray) -> None:
        """Adds each evaluation episode of the `learner` or the `expert` to episodes.csv, for whoever pools runs."""
        self.check_folder()
        episodes = zip(returns.tolist(), lengths.tolist(), strict=True)
        self._episodes += [{"policy": policy, "iteration": itr, "return": r, "length": n} for r, n in episodes]
        write_csv(self.folder / "episodes.csv", self._episodes)

    def log_video(self, name: str, itr: int, gif: bytes, frame_shape: tuple[int, ...]) -> Path:
        """Writes the GIF to videos/, and into TensorBoard, which plays it among the images."""
        path = self.folder / "videos" / f"{name}_itr_{itr}.gif"
        with atomic_write(path) as file:
            file.write(gif)
        # add_video needs moviepy and silently logs nothing without it; a GIF is an image to TensorBoard.
        from tensorboardX.proto.summary_pb2 import Summary

        height, width, channels = frame_shape
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=gif)
        self._add_event(Summary(value=[Summary.Value(tag=name, image=image)]), itr)
        return path

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Writes summary.json."""
        write_json(self.folder / "summary.json", summary)

    def close(self) -> None:
        """Closes the event file."""
        if self._events is not None:
            self._events.close()

    def _add_event(self, summary: Any, itr: int) -> None:
        """Appends it to the event file. tensorboardX's `SummaryWriter` would do so in a thread of its own, and lose
        the last ones where the process is killed."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event

        self.check_folder()
        if self._events is None:
            # A file is named by the second: one that goes on with a run must not take its forerunner's place.
            earlier = len(list(self.folder.glob("events.out.tfevents*")))
            self._events = EventsWriter(str(self.folder / "events"), f".{earlier}" if earlier else "")
        try:
            self._events.write_event(Event(wall_time=time.time(), step=itr, summary=summary))
            self._events.flush()
        except OSError as error:
            raise InputError(f"{self.folder}: TensorBoard's events cannot be written ({error.strerror})") from error

    def check_folder(self) -> None:
        """Raises `InputError` if the folder is gone: writing would make a new one that lacks half of the run."""
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: was removed while the run was writing into it; start the run again")
