"""Run folders with numbers that were chosen by hand, written as a run writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import fakes  # noqa: F401  # registers the corridors
import numpy as np

from rl_il.config import RunConfig
from rl_il.infrastructure.logger import Logger

GIF = b"GIF89a" + bytes(range(200))
RECORD = {
    "defaults": {"loss": "nll", "expert_data": "demos.npz", "device": "cpu"},
    "command_line": [],
    "git_commit": "abc123",
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "platform": "Linux",
}


def write_run(
    folder: Path,
    config: RunConfig,
    returns: Mapping[int, Sequence[float]],
    expert: Sequence[float] = (10.0, 30.0),
    videos: Sequence[int] = (),
    gif: bytes = GIF,
    status: str = "finished",
    events: bool = False,
    **record,
) -> Path:
    """A run that scored `returns[itr]`; an episode is as long as its return plus 100, an expert's 7 steps."""
    folder.mkdir(parents=True)
    logger = Logger(folder)
    logger.write_config({"config": asdict(config), **RECORD, **record})
    logger.log_episodes("expert", 0, np.array(expert), np.full(len(expert), 7))
    for itr in range(max(returns) + 1):
        scalars = {
            "Training Loss": 1.0 / (itr + 1),
            "Train_EnvstepsSoFar": 1000 * itr,
            "Expert_LabelsSoFar": 50 + itr,
        }
        if config.val_fraction:
            scalars["Validation Loss"] = 2.0 / (itr + 1)
        if itr in returns:
            scores = np.array(returns[itr], float)
            logger.log_episodes("learner", itr, scores, (scores + 100).astype(int))
            scalars["Eval_AverageReturn"] = scores.mean()
        logger.log_iteration(itr, scalars, to_tensorboard=events)
        if itr in videos:
            (folder / "videos").mkdir(exist_ok=True)
            (folder / "videos" / f"eval_rollouts_itr_{itr}.gif").write_bytes(gif)
            if events:
                logger.log_video("eval_rollouts", itr, gif, (20, 30, 3))
    logger.write_summary({"status": status, "eval_return_mean": float("nan")})
    logger.close()
    return folder
