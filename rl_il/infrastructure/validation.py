"""Validation: the choice of held-out steps, and the policy's loss and accuracy on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rl_il.errors import InputError
from rl_il.infrastructure.labelling import split_like
from rl_il.infrastructure.replay_buffer import ReplayBuffer, with_noise
from rl_il.policies.base_policy import BasePolicy
from rl_il.types import Trajectory

ROWS_AT_ONCE = 4096


def hold_out(
    trajectories: Sequence[Trajectory], fraction: float, rng: np.random.Generator, whole_ends: bool
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Return the trajectories to train on, and the held-out ones, which have a fraction of each episode's steps.

    Single steps are held out, so that a single demonstration can be divided too. So the validation loss says how well
    the policy fits the labels on states of the data. It says nothing about the states that the policy visits itself.

    Args:
      trajectories: labelled episodes.
      fraction: the fraction of each episode's steps to hold out, from 0 to 1.
      rng: chooses the single steps.
      whole_ends: whether to hold out the end of each episode instead. This is for stacked observations, since each
        observation is also in the stacks of the following steps.
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


def thin_out(trajectories: Sequence[Trajectory], n: int) -> list[Trajectory]:
    """Return the trajectories with only `n` of their labels, spread evenly over all labelled steps.

    Raise `InputError` if they have fewer.
    """
    labelled = np.flatnonzero(np.concatenate([t.labelled_steps for t in trajectories]))
    if n > len(labelled):
        raise InputError(f"--thin_demos {n:,}: the demonstrations have only {len(labelled):,} labelled steps")
    kept = np.zeros(sum(map(len, trajectories)), bool)
    kept[labelled[np.linspace(0, len(labelled) - 1, n).round().astype(int)]] = True
    masks = split_like(kept, trajectories)
    return [replace(t, labelled=mask) for t, mask in zip(trajectories, masks, strict=True) if mask.any()]


def validate(policy: BasePolicy, held: ReplayBuffer, rng: np.random.Generator) -> dict[str, float]:
    """Return the policy's metrics on the held-out steps. There must be at least one such step.

    `rng` draws the noise for a loss that needs it, and the seed for a head that draws its actions.
    """
    policy.reset(int(rng.integers(2**62)))  # for a head that draws its actions
    parts = []
    for rows in held.in_order(ROWS_AT_ONCE):  # in parts, since stacked pictures need much memory
        batch = with_noise(held.batch(rows), policy.noise_shape, rng)
        parts.append((len(rows), policy.validate(*batch)))
    return {name: float(sum(n * part[name] for n, part in parts) / len(held)) for name in parts[0][1]}
