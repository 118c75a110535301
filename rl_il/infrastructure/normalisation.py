"""What a training computes once from the demonstrations: means and standard deviations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rl_il.config import RunConfig
from rl_il.policies.base_policy import BasePolicy
from rl_il.types import Trajectory


def fit_normalisation(config: RunConfig, policy: BasePolicy, demonstrations: Sequence[Trajectory]) -> None:
    """Let the policy standardise observations and labels as the config says."""
    if config.normalize_obs:
        policy.fit_normalization(_observations(demonstrations))
    if config.normalize_acs:
        labels = np.concatenate([t.labels[t.labelled_steps] for t in demonstrations])
        policy.fit_label_normalization(policy.to_labels(labels))


def noise_std(config: RunConfig, policy: BasePolicy, demonstrations: Sequence[Trajectory]) -> np.ndarray | None:
    """Return the standard deviation of `--augment noise` for each number that is stored, float32; None without it.

    It is a fraction of that of the number in the demonstrations. So a number that does not vary gets no noise.
    """
    if "noise" not in config.augmentations():
        return None
    obs = policy.view(_observations(demonstrations)).astype(np.float32)
    return (config.augment_noise * obs.std(axis=0, dtype=np.float64)).astype(np.float32)


def _observations(demonstrations: Sequence[Trajectory]) -> np.ndarray:
    """Return the observations that have a label, `(N, *ob_shape)`."""
    return np.concatenate([t.obs[:-1][t.labelled_steps] for t in demonstrations])
