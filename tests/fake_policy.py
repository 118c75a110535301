"""A policy whose results can be computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from fakes import OB_SHAPE, ConstantActor

from rl_il.policies.base_policy import BasePolicy


class CountingPolicy(BasePolicy):
    """A policy that learns nothing. Update n (from 0) returns a loss of n. It keeps its minibatches and actors."""

    device, discrete, loss_name, ob_shape = torch.device("cpu"), True, "nll", OB_SHAPE

    def __init__(self, action: int = 0):
        self.action = action
        self.batches: list[tuple[np.ndarray, np.ndarray]] = []
        self.actors: list[ConstantActor] = []

    def check_labels(self, actions, rows: int) -> None:
        assert actions.shape == (rows,)

    def loss(self, observations, actions, noise=None):
        raise NotImplementedError

    def update(self, observations, actions, noise=None) -> dict[str, float]:
        self.batches.append((observations.numpy(), actions.numpy()))
        return {"Training Loss": len(self.batches) - 1.0}

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        assert state == {}

    def hyperparameters(self) -> dict:
        return {"action": self.action}

    def validate(self, observations, actions, noise=None) -> dict[str, float]:
        return {"Validation Loss": float(len(actions))}

    def get_action(self, obs: np.ndarray, sample: bool = False) -> np.ndarray:
        return self.actor().get_action(obs)

    def actor(self) -> ConstantActor:
        self.actors.append(ConstantActor(self.action))
        return self.actors[-1]

    def save(self, path: Path) -> None:
        Path(path).write_bytes(b"weights")
