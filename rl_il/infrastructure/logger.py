"""A run's folder: config.json, metrics.csv, episodes.csv, TensorBoard events, videos, summary.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rl_il.errors import InputError
from rl_il.files import atomic_write, write_csv, write_json


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


class Logger:
    """Writes what a run measures. TensorBoard's writer is only imported when the first scalar comes."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._rows: list[dict[str, Any]] = []
        self._episodes: list[dict[str, Any]] = []
        self._tensorboard = None

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes config.json."""
        write_json(self.folder / "config.json", config)

    def log_iteration(self, itr: int, scalars: dict[str, float], to_tensorboard: bool = True) -> None:
        """Adds a row to metrics.csv and, unless told otherwise, a point to each scalar's TensorBoard curve."""
        self._rows.append({"iteration": itr, **scalars})
        write_csv(self.folder / "metrics.csv", self._rows)
        if to_tensorboard:
            for name, value in scalars.items():
                self._writer().add_scalar(name, value, itr)
            self._writer().flush()

    def log_episodes(self, policy: str, itr: int, returns: np.ndarray, lengths: np.ndarray) -> None:
        """Adds each evaluation episode of the `learner` or the `expert` to episodes.csv, for whoever pools runs."""
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
        self._writer().file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), itr)
        return path

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Writes summary.json."""
        write_json(self.folder / "summary.json", summary)

    def close(self) -> None:
        """Closes the event file."""
        if self._tensorboard is not None:
            self._tensorboard.close()

    def _writer(self):
        if self._tensorboard is None:
            from tensorboardX import SummaryWriter

            self._tensorboard = SummaryWriter(str(self.folder), flush_secs=1)
        return self._tensorboard


def return_scalars(prefix: str, returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """The course's scalars for a set of episodes, under its names; std is the population's."""
    return {
        f"{prefix}_AverageReturn": float(np.mean(returns)),
        f"{prefix}_StdReturn": float(np.std(returns)),
        f"{prefix}_MaxReturn": float(np.max(returns)),
        f"{prefix}_MinReturn": float(np.min(returns)),
        f"{prefix}_AverageEpLen": float(np.mean(lengths)),
    }
