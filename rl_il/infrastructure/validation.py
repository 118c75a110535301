"""Steps that are held out of the training, and how well the policy predicts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rl_il.infrastructure.replay_buffer import ReplayBuffer, with_noise
from rl_il.policies.base_policy import BasePolicy
from rl_il.types import Trajectory

ROWS_AT_ONCE = 4096


def hold_out(
    trajectories: Sequence[Trajectory], fraction: float, rng: np.random.Generator, whole_ends: bool
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Return what is trained on, and the fraction of each episode's steps that is held out.

    Single steps are held out, since one demonstration cannot be divided otherwise: the validation loss says how
    well the policy fits the expert on such states, and nothing about the states that it drifts to. Where observations
    are stacked, and so are part of their neighbours' stacks too, each episode's end is held out (`whole_ends`).
    """
    kept, held = [], []
    for trajectory in trajectories:
        steps = len(trajectory)
        n = int(fraction * steps)
        if whole_ends:
            kept.append(trajectory[: steps - n])
            held += [trajectory[steps - n :]] if n else []
            continue
        chosen = np.zeros(steps, bool)
        chosen[rng.permutation(steps)[:n]] = True
        kept.append(replace(trajectory, labelled=trajectory.labelled_steps & ~chosen))
        held.append(replace(trajectory, labelled=trajectory.labelled_steps & chosen))
    return kept, held


def validate(policy: BasePolicy, held: ReplayBuffer, rng: np.random.Generator) -> dict[str, float]:
    """Return the policy's metrics on the steps held out, of which there must be some.

    `rng` gives the noise of a loss that draws.
    """
    policy.reset(int(rng.integers(2**62)))  # a head that draws its actions draws the same every time
    parts = []
    for rows in held.in_order(ROWS_AT_ONCE):  # in parts: stacked pictures are large
        batch = with_noise(held.batch(rows), policy.noise_shape, rng)
        parts.append((len(rows), policy.validate(*batch)))
    return {name: float(sum(n * part[name] for n, part in parts) / len(held)) for name in parts[0][1]}
