"""Runs that take a second, readers of what they write, and a comparison of two runs."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import walk

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.errors import Interrupted
from rl_il.files import load_torch
from rl_il.runs.experiment import resume, run
from rl_il.runs.tensorboard import read_events

TINY = RunConfig(
    n_demos=2,
    num_agent_train_steps_per_iter=20,
    batch_size=100,
    train_batch_size=32,
    size=16,
    eval_episodes=2,
    ep_len=60,
    video_log_freq=-1,
)
TINY_DAGGER = replace(TINY, do_dagger=True, n_iter=4)


def corridor(folder: Path, **settings) -> RunConfig:
    """Return a DAgger run in the corridor, whose expert does 0 in an episode's first two steps and 2 after them."""
    folder.mkdir(exist_ok=True)
    weights = np.array([[0.0, 0, 1], [0, 0, 0]])
    meta = json.dumps({"activation": "tanh", "output": "argmax"})
    np.savez(folder / "expert.npz", w0=weights, b0=np.array([1.5, 0, 0]), meta=np.array(meta))
    save_trajectories(folder / "demos.npz", [walk(3, action=2), walk(5, action=1)])
    defaults = {"env_name": "Corridor-v0", "do_dagger": True, "n_iter": 3, "video_log_freq": -1, "size": 8}
    defaults |= {"num_agent_train_steps_per_iter": 20, "batch_size": 30, "train_batch_size": 8, "eval_episodes": 3}
    files = {"expert_policy_file": str(folder / "expert.npz"), "expert_data": str(folder / "demos.npz")}
    return RunConfig(**defaults | files | settings)


def run_in(folder: Path, config: RunConfig, **settings):
    keep = {"keep_data": settings.pop("keep_data")} if "keep_data" in settings else {}
    return run(replace(config, logdir=str(folder), **settings), verbose=False, **keep)


def rows_of(folder: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    """Return the rows of a table, without the column that is a time."""
    with (folder / name).open() as file:
        return [{k: v for k, v in row.items() if k != "TimeSinceStart"} for row in csv.DictReader(file)]


def weights_of(folder: Path) -> dict[str, list]:
    """Return the numbers of every saved policy."""

    def plain(value):
        return value.tolist() if hasattr(value, "tolist") else str(value)

    saved = {path.name: load_torch(path) for path in folder.glob("*.pt")}
    return {name: json.dumps(content, default=plain, sort_keys=True) for name, content in saved.items()}


def points_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows of the folder's own event files: (step, value) of each curve, without times."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag != "TimeSinceStart"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def settings_of(folder: Path) -> list[dict]:
    """Return the settings of each session that TensorBoard's tab HParams finds in the folder."""
    from tensorboardX.proto.event_pb2 import SessionLog
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    found = []
    for path in sorted(folder.glob("events.out.tfevents*")):
        for _, event in read_events(path, may_be_cut=True):
            if event.session_log.status == SessionLog.START:  # the run was resumed: what is later is written again
                found = [(step, session) for step, session in found if step < event.step]
            for value in event.summary.value:
                content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                if content.HasField("session_start_info"):
                    found.append((event.step, content.session_start_info.hparams))
    return [{name: getattr(v, v.WhichOneof("kind")) for name, v in session.items()} for _, session in found]


def data_of(folder: Path) -> dict[str, list]:
    """Return every step of each round's data."""
    names = "obs acs labels rewards source labelled_steps".split()
    return {
        path.name: [
            [getattr(t, name).tolist() for name in names] + [t.terminated, t.truncated]
            for t in load_trajectories(path, may_lack_labels=True)
        ]
        for path in sorted(folder.glob("data/*.npz"))
    }


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two runs wrote the same, except times, and that each point is in TensorBoard once."""
    for name in ("metrics.csv", "episodes.csv"):
        assert rows_of(one, name) == rows_of(other, name)
    assert weights_of(one) == weights_of(other) != {}
    assert data_of(one) == data_of(other)
    for folder in ("", "steps"):
        points = points_of(one / folder)
        assert points == points_of(other / folder) != {}
        assert all(len({step for step, _ in curve}) == len(curve) for curve in points.values())
    summaries = [json.loads((folder / "summary.json").read_text()) | {"wall_seconds": 0} for folder in (one, other)]
    assert summaries[0] == summaries[1]
    assert len(settings_of(one)) == 1 and summaries[0]["iterations"] == len(weights_of(one))


class Stopped:
    """Replace `noted_signals`: a signal is noted when the run looks for one for the `number`-th time."""

    def __init__(self, number: int, between_steps: bool = True):
        self.left, self.between_steps = number, between_steps

    def __call__(self, grace: float | None = None) -> Stopped:
        return self

    def __enter__(self):
        return self.check

    def __exit__(self, *_) -> None:
        pass

    def check(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Interrupted("", signal.SIGTERM, between_steps=self.between_steps)


def stop_after(monkeypatch, folder: Path, config: RunConfig | None, blocks: int, between_steps: bool = True) -> None:
    """Start the run, or resume it if no config is given, and stop it after this number of blocks."""
    with monkeypatch.context() as patch:
        patch.setattr("rl_il.runs.training.noted_signals", Stopped(blocks, between_steps))
        with pytest.raises(Interrupted) as caught:
            run_in(folder, config) if config else resume(folder, verbose=False)
    assert caught.value.signal_number == signal.SIGTERM
    assert f"--resume {folder}" in str(caught.value)
