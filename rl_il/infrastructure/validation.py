"""Steps that are held out of the training, and what the policy makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.types import Trajectory

if TYPE_CHECKING:  # the room above
    from rl_il.policies.mlp_policy import MLPPolicySL

ROWS_AT_ONCE = 4096  # stacked pictures are large


def hold_out(
    trajectories: Sequence[Trajectory], fraction: float, rng: np.random.Generator, whole_ends: bool
) -> tuple[list[Trajectory], list[Trajectory]]:
    """What is trained on, and the fraction of each episode's steps that is held out.

    Single steps are held out, since one demonstration cannot be parted otherwise: the validation loss says how
    well the policy fits the expert on such states, and nothing about where it drifts to. Where observations are
    stacked, and so lie in their neighbours' stacks too, it is each episode's end (`whole_ends`).
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


def validate(policy: MLPPolicySL, held: ReplayBuffer) -> dict[str, float]:
    """The policy's metrics on the steps held out, of which there must be some."""
    parts = [(len(rows), policy.validate(*held.batch(rows))) for rows in held.in_order(ROWS_AT_ONCE)]
    return {name: sum(n * part[name] for n, part in parts) / len(held) for name in parts[0][1]}
