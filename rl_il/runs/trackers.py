"""Trackers: MLflow and Weights & Biases keep the settings and metrics of many runs, and show them on a web page."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from rl_il.errors import InputError

PROJECT = "rl_il"


class Tracked(Protocol):
    """Settings with the choice of a tracker: `RunConfig` or `TeachConfig`."""

    tracker: str | None


class Tracker:
    """A tracker. If it fails later, a note says so, and the run goes on: its folder has all metrics.

    Raise `InputError` if it cannot be started.
    """

    package = ""
    hint = ""  # what to do if it cannot be started

    def __init__(self, settings: dict[str, Any], folder: Path):
        self.module, self.broken = _import(self.package), False
        try:
            self.start(settings, folder)
        except Exception as error:  # the package, its database and the network raise errors of many classes
            why = _first_line(error)
            raise InputError(f"--tracker {self.package}: {why}; {self.hint}, or drop the flag") from error

    def log(self, scalars: dict[str, float], step: int) -> None:
        """Send metrics, which belong to this step: an episode of a session, or a gradient step."""
        self._attempt(self.send, scalars, step)

    def close(self) -> None:
        """End the run in the tracker."""
        self._attempt(self.end)

    def _attempt(self, method: Callable[..., None], *args: Any) -> None:
        """Call the method, unless one failed before. If it fails, print a note."""
        if self.broken:
            return
        try:
            method(*args)
        except Exception as error:
            self.broken = True
            print(f"note: no more metrics are sent to {self.package}: {_first_line(error)}", file=sys.stderr)

    def start(self, settings: dict[str, Any], folder: Path) -> None:
        """Begin a run with these settings. Its name is that of the folder."""
        raise NotImplementedError

    def send(self, scalars: dict[str, float], step: int) -> None:
        """Send metrics."""
        raise NotImplementedError

    def end(self) -> None:
        """Send what is left."""
        raise NotImplementedError


class MLflow(Tracker):
    """MLflow. Variables such as MLFLOW_TRACKING_URI say where it keeps the run."""

    package, hint = "mlflow", "set MLFLOW_TRACKING_URI"

    def start(self, settings: dict[str, Any], folder: Path) -> None:
        """Begin a run in the experiment `rl_il`."""
        self.module.set_experiment(PROJECT)
        self.module.start_run(run_name=folder.name)
        self.module.log_params(settings)

    def send(self, scalars: dict[str, float], step: int) -> None:
        """Send metrics. MLflow allows no spaces in their names."""
        self.module.log_metrics({name.replace(" ", "_"): scalars[name] for name in scalars}, step=step)

    def end(self) -> None:
        """Mark the run as finished."""
        self.module.end_run()


class WandB(Tracker):
    """Weights & Biases. Its files are in `wandb` in the run folder; with WANDB_MODE=offline they are sent nowhere."""

    package, hint = "wandb", "run `wandb login`, or set WANDB_MODE=offline"

    def start(self, settings: dict[str, Any], folder: Path) -> None:
        """Begin a run in the project `rl_il`, or in $WANDB_PROJECT. A resumed run continues its own."""
        names = sorted(path.name for path in folder.glob("wandb/*run-*-*"))  # [offline-]run-TIME-ID
        earlier = names[0].removeprefix("offline-").split("-", 2)[2] if names else None
        self.run = self.module.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            config=settings,
            dir=str(folder),
            id=earlier,
            resume="allow" if earlier else None,
        )

    def send(self, scalars: dict[str, float], step: int) -> None:
        """Send metrics."""
        self.run.log(scalars, step=step)

    def end(self) -> None:
        """Wait until all is sent."""
        self.run.finish()


CLASSES: dict[str, type[Tracker]] = {each.package: each for each in (MLflow, WandB)}


def check_tracker(name: str | None) -> None:
    """Raise `InputError` if the package of the named tracker is missing. Call it before a folder is made."""
    if name is not None:
        _import(CLASSES[name].package)


def start_tracker(config: Tracked, folder: Path) -> Tracker | None:
    """Return the tracker that the settings name, started with these settings, or None."""
    return None if config.tracker is None else CLASSES[config.tracker](dataclasses.asdict(config), folder)


def _import(package: str) -> Any:
    with suppress(ImportError):
        module = importlib.import_module(package)
        if getattr(module, "__file__", None):  # a folder of this name, such as `wandb` leaves, is no package
            return module
    raise InputError(f"--tracker {package} needs a package; run `pip install {package}`, or drop the flag")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300].rstrip(".")
