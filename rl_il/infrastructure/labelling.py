"""Labels for the states of an iteration: those that the rule selects, within the budget, from the teacher.

This file does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Rule, Teacher
from rl_il.types import Trajectory


def label_round(
    trajectories: Sequence[Trajectory],
    rule: Rule,
    teacher: Teacher,
    rng: np.random.Generator,
    budget: int | None = None,
    chunk: int = 1,
) -> list[Trajectory]:
    """Return the iteration's trajectories with the teacher's labels for the states that the rule selects.

    With a chunk of K, a selected state brings the labels of the K states from it on, or of the episode's last K.
    Chunks with a state that may not be labelled are left out, since no policy could learn from them. If there are
    more than `budget` labels, selected states are dropped at random. Raise `InputError` if the teacher's answers are
    not actions, or if the rule's selection is not a bool array.
    """
    starts = None if budget is None else budget // chunk
    chosen, name = rule.select(trajectories, starts, rng), f"{type(rule).__name__}.select"
    if not isinstance(chosen, Sequence) or len(chosen) != len(trajectories):
        raise InputError(f"{name} must return a list of {len(trajectories)} arrays, got {chosen!r:.100}")
    for trajectory, mask in zip(trajectories, chosen, strict=True):
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (len(trajectory),):
            got = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else f"{mask!r:.100}"
            raise InputError(
                f"{name} must return a bool array of shape ({len(trajectory)},) for an episode of {len(trajectory)}"
                f" steps, got {got}"
            )
    may = [trajectory.labelled_steps for trajectory in trajectories]
    masks = [with_chunks(mask, may_be, chunk) for mask, may_be in zip(chosen, may, strict=True)]
    if budget is not None and sum(int(mask.sum()) for mask in masks) > budget:
        chosen = drop_surplus([mask & may_be for mask, may_be in zip(chosen, may, strict=True)], starts, rng)
        masks = [with_chunks(mask, may_be, chunk) for mask, may_be in zip(chosen, may, strict=True)]
    return [label(trajectory, mask, teacher) for trajectory, mask in zip(trajectories, masks, strict=True)]


def drop_surplus(masks: Sequence[np.ndarray], budget: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the bool arrays with at most `budget` true values in all. The others are dropped at random."""
    chosen = np.flatnonzero(np.concatenate(masks))
    kept = rng.choice(chosen, min(budget, len(chosen)), replace=False)
    return split_like(np.isin(np.arange(sum(map(len, masks))), kept), masks)


def split_like(values: np.ndarray, parts: Sequence[Any]) -> list[np.ndarray]:
    """Return the values `(sum of lengths, ...)` in pieces that are as long as the parts."""
    return np.split(values, np.cumsum([len(part) for part in parts])[:-1])


def with_chunks(chosen: np.ndarray, may: np.ndarray, chunk: int) -> np.ndarray:
    """Return `(T,)` bool: the chosen steps that may have a label, each with the `chunk` - 1 steps after it.

    For a step near the end of the episode, these are the last `chunk` steps, since a policy learns whole chunks.
    Chunks with a step that may not have a label are left out.
    """
    if chunk == 1 or len(chosen) < chunk:
        return chosen & may
    starts = np.minimum(np.flatnonzero(chosen), len(chosen) - chunk)
    steps = starts[:, None] + np.arange(chunk)
    widened = np.zeros(len(chosen), bool)
    widened[steps[may[steps].all(axis=1)]] = True
    return widened


def label(trajectory: Trajectory, chosen: np.ndarray, teacher: Teacher) -> Trajectory:
    """Return the trajectory with labels for the `chosen` states that may have one. Executed actions do not change.

    Answers that the teacher gave during the rollout become labels. For the other chosen states it is asked now. If it
    cannot answer for recorded states, these states get no label.
    """
    chosen = chosen & trajectory.labelled_steps
    asked = np.zeros(len(trajectory), bool) if trajectory.consulted is None else trajectory.consulted
    labels = trajectory.acs.copy() if trajectory.expert_acs is None else trajectory.expert_acs.copy()
    missing = chosen & ~asked
    answers = teacher.label(trajectory.obs[:-1][missing]) if missing.any() else None
    if answers is None:
        chosen = chosen & asked
    else:
        labels[missing] = _checked(np.asarray(answers), labels[missing])
        asked = asked | missing
    try:
        return replace(trajectory, expert_acs=labels, labelled=None if chosen.all() else chosen, consulted=asked)
    except InputError as error:
        raise InputError(f"the expert's labels: {error}") from error


def _checked(labels: np.ndarray, acs: np.ndarray) -> np.ndarray:
    """Return the labels. Raise `InputError` if they do not have the shape and the kind of the actions."""
    if labels.shape != acs.shape or (labels.dtype.kind not in "iu" and acs.dtype.kind in "iu"):
        raise InputError(
            f"the expert's labels must be {acs.dtype} of shape {acs.shape}, as the actions are, got {labels.dtype} of"
            f" shape {labels.shape}"
        )
    return labels
