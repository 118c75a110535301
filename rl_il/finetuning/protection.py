"""What protects a clone while PPO trains it: a critic that is trained first, exploration, a price for leaving it."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

from rl_il.finetune_config import FinetuneConfig

MEASURED = ("approx_kl", "clip_fraction", "explained_variance", "value_loss")
"""What the library measures of each update, by its names in the library's log."""


def frozen(policy: nn.Module) -> nn.Module:
    """Return a copy of the library's policy that does not change."""
    return copy.deepcopy(policy).requires_grad_(False)


def soften(policy: nn.Module, temperature: float) -> None:
    """Divide the logits of the library's policy by the temperature; their order stays the same.

    A clone of few demonstrations is far more certain than it is right, so it would explore little, and every action
    that it would not take would have a high price.
    """
    with torch.no_grad():
        for parameter in policy.action_net.parameters():
            parameter /= temperature


def actor_parameters(policy: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the library's policy that only the choice of actions depends on."""
    parts = [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()]
    return parts + ([policy.log_std] if hasattr(policy, "log_std") else [])


class Protection(BaseCallback):
    """A callback of one iteration: it protects the clone, measures, and shows the progress.

    Args:
      config: the settings of the run.
      clone: the library's policy as it was at the beginning, `frozen`.
      ticks: one item is taken from it after each step of the environments.

    Attributes:
      losses: the mean loss of each update.
      measured: for each of `MEASURED`, its value in each update.
      returns, lengths: of the episodes that ended, with the drawn actions.
      log_ratios: log p(action) - log p_clone(action) at each step.
    """

    def __init__(self, config: FinetuneConfig, clone: nn.Module, ticks: Iterator):
        super().__init__()
        self.config, self.clone, self.ticks = config, clone, ticks
        self.losses: list[float] = []
        self.measured: dict[str, list[float]] = {name: [] for name in MEASURED}
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self.log_ratios: list[float] = []
        self._updates = 0

    def _on_training_start(self) -> None:
        self._updates = self.model._n_updates

    def _on_rollout_start(self) -> None:
        """Set the learning rate of the update that follows, and let the actor stand still in it if that is due."""
        self._note_update()
        learning_rate = self.config.learning_rate_at(self.num_timesteps)
        self.model.lr_schedule = lambda _: learning_rate  # the library knows only the progress within an iteration
        trained = self.num_timesteps >= self.config.warmup
        for parameter in actor_parameters(self.model.policy):
            parameter.requires_grad_(trained)
            parameter.grad = None  # else Adam would repeat the last step

    def _on_step(self) -> bool:
        """Scale the rewards and subtract the price, in the array that the library stores after this call."""
        self.locals["rewards"] *= self.config.reward_scale
        if self.config.kl_weight(0):
            ratios = self._log_ratios()
            self.locals["rewards"] -= self.config.kl_weight(self.num_timesteps) * ratios
            self.log_ratios += ratios.tolist()
        for info in self.locals["infos"]:
            if "episode" in info:
                self.returns.append(float(info["episode"]["r"]))
                self.lengths.append(int(info["episode"]["l"]))
        next(self.ticks, None)
        return True

    def _log_ratios(self) -> np.ndarray:
        """Return log p(a|s) - log p_clone(a|s) of the actions that were drawn, `(n_envs,)`.

        It is a sample of the Kullback-Leibler divergence of the policy from the clone.
        The exact divergence is the same for every action in a state, so it would not discourage the drawn one.
        """
        actions = torch.as_tensor(self.locals["actions"])
        actions = actions.long() if actions.ndim == 1 else actions.flatten(1)  # an integer or an array each
        with torch.no_grad():
            _, before, _ = self.clone.evaluate_actions(self.locals["obs_tensor"], actions)
        return (self.locals["log_probs"] - before).numpy()

    def _on_training_end(self) -> None:
        self._note_update()

    def _note_update(self) -> None:
        """Note what the library measured in the update that has ended, if there was one."""
        if self.model._n_updates == self._updates:
            return
        self._updates, found = self.model._n_updates, self.logger.name_to_value
        weights = {"policy_gradient_loss": 1.0, "entropy_loss": self.model.ent_coef, "value_loss": self.model.vf_coef}
        self.losses.append(float(sum(weight * found[f"train/{name}"] for name, weight in weights.items())))
        for name, values in self.measured.items():
            values.append(float(found[f"train/{name}"]))

    def scalars(self) -> dict[str, float]:
        """Return what was measured, by its names in metrics.csv."""
        found = {f"PPO_{name}": values for name, values in self.measured.items()}
        found |= {"Train_AverageReturn": self.returns, "Train_AverageEpLen": self.lengths}
        found |= {"PPO_log_ratio_to_clone": self.log_ratios}
        # The library's explained variance is not finite if all returns of an update are equal.
        finite = {name: [value for value in values if np.isfinite(value)] for name, values in found.items()}
        return {name: float(np.mean(values)) for name, values in finite.items() if values}
