"""`PPOTrainer`, which improves a clone with Stable-Baselines3's PPO, and has the interface of `RLTrainer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_il.envs import env_of
from rl_il.envs.spaces import name_of
from rl_il.errors import DivergedError, InputError
from rl_il.finetune_config import FinetuneConfig
from rl_il.finetuning.protection import Protection, frozen, soften
from rl_il.finetuning.weights import policy_of
from rl_il.infrastructure.counting import Counts
from rl_il.infrastructure.pytorch_utils import kept_generators, seeded, threads
from rl_il.infrastructure.rl_trainer import Block
from rl_il.policies.mlp_policy import MLPPolicy
from rl_il.policies.to_sb3 import to_sb3
from rl_il.seeding import stream
from rl_il.types import Trajectory


class PPOTrainer:
    """A training: iteration 0 is the clone, and each later one is what PPO does between two evaluations.

    The clone explores more than before (`FinetuneConfig.softening`); what it does greedily is the same.
    At the beginning of an iteration the environments are reset, and all random generators are seeded. So an
    iteration follows from the weights, the optimiser's state and the seed, and a run that was stopped ends with the
    same result.

    Args:
      config: the settings of the run.
      clone: the policy to begin with.
      demonstrations: its exploration follows from them, see `to_sb3.exploration`.
      labels: how many labels of an expert the clone was trained on.
      watch: as for `RLTrainer`.
    """

    fit = SimpleNamespace(compiles=False, must_compile=False)  # the library's gradient steps are never compiled

    def __init__(
        self,
        config: FinetuneConfig,
        clone: MLPPolicy,
        demonstrations: Sequence[Trajectory] = (),
        labels: int = 0,
        watch: Callable[..., Iterable] = lambda items, *_: items,
    ):
        self.config, self.clone, self.watch = config, clone, watch
        self.demonstrations: Sequence[Trajectory] = ()  # the training needs none
        self.labels = 0 if config.from_nothing else labels
        self.envs = DummyVecEnv([lambda: _monitored(config) for _ in range(config.n_envs)])
        names = "learning_rate n_steps n_epochs gamma gae_lambda clip_range ent_coef".split()
        settings = {name: getattr(config, name) for name in names} | {"batch_size": config.train_batch_size}
        with seeded(int(stream(config.seed, "weights").integers(2**62))):
            how = {"fold": False, "copy_weights": not config.from_nothing}
            self.model = to_sb3(clone, self.envs, "PPO", demonstrations, **how, **settings)
        if clone.discrete:
            soften(self.model.policy, config.softening)
        self.model.set_logger(Logger(None, []))  # else the library makes a folder for its log
        self.reference = frozen(self.model.policy)
        self.itr = self.steps_done = 0  # the iteration; a run is stopped only between two of them
        self.policy = policy_of(self.model, clone)

    @property
    def gradient_steps(self) -> int:
        """Return the gradient steps so far."""
        return self.model.num_timesteps // self.config.steps_per_update * self.config.gradient_steps_per_update

    @property
    def counts(self) -> Counts:
        """Return what was used so far."""
        return Counts(env_steps=self.model.num_timesteps, expert_labels=self.labels)

    def blocks(self) -> Iterator[Block]:
        """Train, and yield after each iteration. A run is evaluated, saved and stopped only there."""
        try:
            while self.itr < self.config.n_iter:
                trained = None if self.itr == 0 else self._train(self.itr)
                self.itr += 1
                yield self._block(self.itr - 1, trained)
        finally:
            self.envs.close()

    def _train(self, itr: int) -> Protection:
        """Let PPO train up to the next evaluation, and return what was measured."""
        model, config = self.model, self.config
        updates = config.updates_per_iteration
        ticks = iter(self.watch(range(updates * config.n_steps), "train", itr, updates * config.n_steps))
        callback = Protection(config, self.reference, ticks)
        model.set_env(self.envs)  # so that they are reset
        try:
            with kept_generators(), threads(config.torch_threads):
                model.set_random_seed(int(stream(config.seed, "reinforcement", itr).integers(2**31)))
                model.learn(config.steps_per_iteration, callback, log_interval=None, reset_num_timesteps=False)
        except Exception:  # torch and the environment raise errors of many classes if numbers are not finite
            self._check_finite()
            raise
        self._check_finite()
        next(ticks, None)  # the end of the last step
        self.policy = policy_of(model, self.clone)
        return callback

    def _check_finite(self) -> None:
        """Raise `DivergedError` if a weight is not finite."""
        if not all(parameter.isfinite().all() for parameter in self.model.policy.parameters()):
            raise DivergedError(
                f"the weights are not finite after {self.model.num_timesteps:,} environment steps; lower"
                " --learning_rate or --reward_scale"
            )

    def _block(self, itr: int, trained: Protection | None) -> Block:
        losses = np.array([] if trained is None else trained.losses)
        # The library tells the mean loss of the gradient steps of an update.
        losses = np.repeat(losses, self.config.gradient_steps_per_update)
        return Block(
            itr,
            steps=len(losses),
            ends_iteration=True,
            evaluate=True,
            last_iteration=itr == self.config.n_iter - 1,
            gradient_steps=self.gradient_steps,
            counts=self.counts,
            losses=losses,
            scalars={} if trained is None else trained.scalars(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is needed to continue: what the library saves, without its pickled code."""
        state = {"itr": self.itr, "num_timesteps": self.model.num_timesteps}
        return state | {"model": self.model.get_parameters(), "reference": self.reference.state_dict()}

    def load_state_dict(self, state: dict[str, Any], collected: Iterable[Sequence[Trajectory]] = ()) -> None:
        """Restore the state that `state_dict` returned. No data were collected."""
        self.itr = state["itr"]
        self.model.num_timesteps = state["num_timesteps"]
        self.model.set_parameters(state["model"])
        self.reference.load_state_dict(state["reference"])
        self.policy = policy_of(self.model, self.clone)


def _monitored(config: FinetuneConfig) -> Monitor:
    """Return a new environment that tells the return of each episode."""
    env = Finite(env_of(config))
    return Monitor(env if config.ep_len is None else TimeLimit(env, config.ep_len))


class Finite(gym.Wrapper):
    """An environment that raises `InputError` instead of returning NaN or infinity, with which PPO would go on."""

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; return the observation and the info."""
        ob, info = self.env.reset(**kwargs)
        self._check("observation", ob)
        return ob, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Execute the action; return what the environment returns."""
        ob, reward, terminated, truncated, info = self.env.step(action)
        self._check("observation", ob)
        self._check("reward", reward)
        return ob, reward, terminated, truncated, info

    def _check(self, name: str, value: Any) -> None:
        if not np.isfinite(value).all():
            raise InputError(
                f"{name_of(self.env)}: in the training, the {name} contains NaN or infinity, but it must be finite"
            )
