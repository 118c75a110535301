"""Run folders with numbers chosen by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import fakes  # noqa: F401  # registers the corridors
import numpy as np

from rl_il.config import RunConfig
from rl_il.files import write_csv, write_json

GIF = b"GIF89a" + bytes(range(200))
RECORD = {
    "defaults": {"loss": "nll", "expert_data": "demos.npz", "device": "cpu"},
    "command_line": [],
    "git_commit": "abc123",
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "platform": "Linux",
}


def dicts(rows: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """Return a table's rows as dictionaries with its headings as keys."""
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def write_run(
    folder: Path,
    config: RunConfig,
    returns: Mapping[int, Sequence[float] | Mapping[int, Sequence[float]]],
    expert: Sequence[float] = (10.0, 30.0),
    videos: Sequence[int] = (),
    gif: bytes = GIF,
    status: str = "finished",
    events: bool = False,
    **record,
) -> Path:
    """Write the folder of a run that scored `returns[itr]`, or `returns[itr][steps]` after `steps` gradient steps.

    An episode is as long as its return plus 100, an expert's 7 steps.
    """
    folder.mkdir(parents=True)
    episodes = [{"policy": "expert", "iteration": 0, "return": score, "length": 7} for score in expert]
    rows = []
    for itr in range(max(returns) + 1):
        scores = returns.get(itr, ())
        for steps, scored in scores.items() if isinstance(scores, dict) else [(None, scores)]:
            rows.append(_row(itr, steps, scored, config))
            for score in scored:
                episode = {"policy": "learner", "iteration": itr, "return": score, "length": int(score + 100)}
                episodes.append(episode | ({"gradient_steps": steps} if steps else {}))
    write_csv(folder / "metrics.csv", rows)
    write_csv(folder / "episodes.csv", episodes)
    for itr in videos:
        (folder / "videos").mkdir(exist_ok=True)
        (folder / "videos" / f"eval_rollouts_itr_{itr}.gif").write_bytes(gif)
    if events:
        write_events(folder, rows, gif, videos)
    write_json(folder / "config.json", {"config": asdict(config), **RECORD, **record})
    write_json(folder / "summary.json", {"status": status, "eval_return_mean": float("nan")})
    return folder


def _row(itr: int, steps: int | None, scores: Sequence[float], config: RunConfig) -> dict[str, float]:
    row = {"iteration": itr} | ({"gradient_steps": steps} if steps else {})
    row |= {"Training Loss": 1 / (itr + 1), "Train_EnvstepsSoFar": 1000 * itr, "Expert_LabelsSoFar": 50 + itr}
    row |= {"Validation Loss": 2 / (itr + 1)} if getattr(config, "val_fraction", 0) else {}
    return row | ({"Eval_AverageReturn": float(np.mean(scores))} if len(scores) else {})


def write_events(
    folder: Path, rows: Sequence[dict[str, float]], gif: bytes = GIF, videos: Sequence[int] = (), **settings
) -> None:
    """Write TensorBoard's file of the rows and the videos; `settings` are `SummaryWriter`'s."""
    from tensorboardX import SummaryWriter
    from tensorboardX.proto.summary_pb2 import Summary

    writer = SummaryWriter(str(folder), **settings)
    for row in rows:
        for name in row.keys() - {"iteration", "gradient_steps"}:
            writer.add_scalar(name, row[name], row["iteration"])
    for itr in videos:
        image = Summary.Image(height=20, width=30, colorspace=3, encoded_image_string=gif)
        writer.file_writer.add_summary(Summary(value=[Summary.Value(tag="eval_rollouts", image=image)]), itr)
    writer.close()
