"""What the page and the window have in common: what they draw, and how much one undo takes back."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from rl_il.envs import is_picture, make_env
from rl_il.infrastructure.video import make_drawing_env, render_frame
from rl_il.teacher.session import Session

UNDO_SECONDS = 5  # of the environment's time


def make_shown_env(env_name: str) -> gym.Env:
    """The environment as it is shown: one that observes pictures need not draw others."""
    env = make_env(env_name)
    if is_picture(env.observation_space):
        return env
    env.close()
    return make_drawing_env(env_name)


def picture(session: Session) -> np.ndarray:
    """What the session looks like now, `(height, width, 3)` uint8: what it observes, if that is a picture."""
    return session.ob if is_picture(session.env.observation_space) else render_frame(session.env)
