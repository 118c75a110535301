"""Episodes of Push-T: the demonstrations carried out again, and one of a policy as a GIF."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_of, env_row
from rl_il.experts.loading import load_actor
from rl_il.infrastructure.video import record_frames, write_video
from rl_il.report.tables import Result
from rl_il.runs.parts import load_demonstrations
from rl_il.studies.ablation.results import VariantResult

SHOWN_SEED = 1000  # of the episode in the GIF; the table does not use it
SHOWN_FRAMES = 3  # the GIF has every third frame


def replay(config: RunConfig) -> Result:
    """Return the scores of the demonstrations' actions, carried out again from their first states, as one policy."""
    row, scores = env_row(config.env_name), []
    with closing(env_of(config)) as env:
        for demonstration in load_demonstrations(config, env):
            env.reset(seed=0)
            begin_at(env, demonstration.obs[0].tolist())
            rewards = [env.step(ac)[1] for ac in demonstration.acs]
            scores.append(row.score(replace(demonstration, rewards=np.array(rewards))))
    return Result.of_one_policy("demonstrations, replayed", [np.array(scores)], row.measure)


def begin_at(env: gym.Env, state: Sequence[float]) -> None:
    """Move agent and block of Push-T to the state: x and y of both, and the block's angle.

    The environment's own option `reset_to_state` sets the angle last, which moves the block away.
    """
    agent, block = env.unwrapped.agent, env.unwrapped.block
    agent.position = tuple(state[:2])
    block.angle = state[4]
    block.position = tuple(state[2:4])


def show_episode(path: Path, result: VariantResult) -> None:
    """Write a GIF of the first seed's policy in the episode with the seed `SHOWN_SEED`."""
    first = result.variant.runs[0]
    with closing(env_of(first.config)) as env:
        frames, fps = record_frames(env, load_actor(first.folder, env), SHOWN_SEED)
    write_video(path, frames[::SHOWN_FRAMES], fps / SHOWN_FRAMES)
