"""The settings of a run that improves a clone by reinforcement learning; they are the flags of `finetune.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rl_il.checks import check_finetuning
from rl_il.config import LR_SCHEDULES, RunConfig
from rl_il.files import named_run
from rl_il.options import check_types, expand_paths, option, same_option
from rl_il.settings import Settings

SB3_LEARNING_RATE = 3e-4
"""The default of Stable-Baselines3's PPO."""
CRITIC_WARMUP, KL_TO_CLONE, TEMPERATURE = 10_000, 0.05, 3.0


@dataclass(frozen=True)
class FinetuneConfig(Settings):
    """Everything that decides the result of PPO from a clone. Names that `RunConfig` has too mean the same."""

    command = "finetune"  # the attributes without an annotation are no fields
    algorithm = "PPO"

    policy: str | None = option(
        None,
        "the policy to begin with: a run folder (its last policy; latest: that of the newest run), or a file of one"
        " (.pt)",
        path=True,
        group="task",
    )
    env_name: str = same_option(RunConfig, "env_name")
    env_kwargs: str | None = same_option(RunConfig, "env_kwargs")
    wrappers: str | None = same_option(RunConfig, "wrappers")
    ep_len: int | None = same_option(RunConfig, "ep_len")
    expert_data: str | None = option(
        None,
        "demonstrations from which the exploration of a clone with continuous actions and --loss mse or l1 follows:"
        " the standard deviation of its errors (default: those of the policy's run)",
        "ed",
        path=True,
    )
    expert_policy_file: str | None = option(
        None,
        "the expert with which the policy is compared; accepted is what run_hw1.py accepts (default: the one included"
        " for the environment)",
        "epf",
        parse=named_run,
        path=True,
    )
    expert_activation: str | None = same_option(RunConfig, "expert_activation")
    no_normalizer: bool = same_option(RunConfig, "no_normalizer")

    total_timesteps: int = option(
        100_000, "environment steps of the training, rounded up to whole evaluations", group="training"
    )
    n_envs: int = option(8, "environments side by side, in one process (the library's DummyVecEnv)")
    n_steps: int = option(128, "steps in each environment between two updates")
    n_epochs: int = option(10, "passes over the steps of an update")
    train_batch_size: int = option(
        64,
        "steps in the minibatch of each gradient step (batch_size of the library); it must divide --n_envs times"
        " --n_steps",
    )
    learning_rate: float = option(SB3_LEARNING_RATE, "learning rate of Adam at the beginning", "lr")
    lr_schedule: str = option(
        "cosine",
        "how the learning rate changes. cosine: it decreases to 0 over all steps, so that the last updates change the"
        " policy little",
        choices=LR_SCHEDULES,
    )
    gamma: float = option(0.99, "discount of future rewards")
    gae_lambda: float = option(0.95, "how far an advantage looks ahead before it trusts the critic (GAE)")
    clip_range: float = option(0.2, "how far an update may change the probability of an action")
    ent_coef: float = option(0.0, "weight of the entropy in the loss")
    reward_scale: float = option(
        1.0,
        "multiply rewards by this in the training, so that returns have a size that a new critic learns quickly, such"
        " as 1 to 10. It does not change which actions are better",
    )
    seed: int = same_option(RunConfig, "seed")

    critic_warmup: int | None = option(
        None,
        "environment steps at the beginning in which only the critic is trained, and the actor does not change,"
        f" rounded up to whole updates (default: {CRITIC_WARMUP:,}, but at most a tenth of the training)",
        group="protection of the clone",
    )
    kl_to_clone: float | None = option(
        None,
        "subtract this many times log p(action) - log p_clone(action) from each scaled reward: the price of leaving"
        f" the clone (default: {KL_TO_CLONE:g})",
    )
    kl_until: int | None = option(
        None, "environment steps after which this price, which decreases linearly, is 0 (default: the end)"
    )
    temperature: float | None = option(
        None,
        "divide the logits of a clone whose actions are integers by this: it explores more, and its most probable"
        f" action stays the same. 1 changes nothing (default: {TEMPERATURE:g}, but 1 if PPO has trained the policy)",
    )
    from_nothing: bool = option(
        False,
        "begin with new weights in a network like the policy's, for a comparison; there is nothing to protect. The"
        " mean and the deviation of observations (--normalize_obs) stay those of the policy",
    )

    eval_every: int = option(
        10_000,
        "environment steps between two evaluations, rounded up to whole updates (--n_envs times --n_steps). Only"
        " there can the run be resumed",
        group="evaluation and logging",
    )
    eval_batch_size: int = same_option(RunConfig, "eval_batch_size")
    eval_episodes: int | None = same_option(RunConfig, "eval_episodes")
    eval_seeds: str | None = same_option(RunConfig, "eval_seeds")
    video_log_freq: int = option(-1, "save a video every N evaluations, and after the last one. -1: no videos")
    tracker: str | None = same_option(RunConfig, "tracker")
    exp_name: str | None = option(None, "a word in the name of the run folder (default: ppo)", "exp")
    logdir: str | None = option(
        None, "the run folder; it must be new or empty (default: rl_... in ./data or $RL_IL_DATA)", path=True
    )

    torch_threads: int = option(1, "CPU threads of the training; more change the last digits", group="machine")
    num_workers: int = same_option(RunConfig, "num_workers")

    def __post_init__(self) -> None:
        self.spell_env()
        expand_paths(self)
        check_types(FinetuneConfig, vars(self))
        check_finetuning(self)

    @property
    def steps_per_update(self) -> int:
        """Return how many environment steps an update is computed from."""
        return self.n_envs * self.n_steps

    @property
    def updates_per_iteration(self) -> int:
        """Return how many updates there are between two evaluations."""
        return math.ceil(self.eval_every / self.steps_per_update)

    @property
    def steps_per_iteration(self) -> int:
        """Return how many environment steps there are between two evaluations."""
        return self.updates_per_iteration * self.steps_per_update

    @property
    def gradient_steps_per_update(self) -> int:
        """Return how many gradient steps an update consists of."""
        return self.n_epochs * (self.steps_per_update // self.train_batch_size)

    @property
    def n_iter(self) -> int:
        """Return the number of iterations: the clone itself, and what lies between two evaluations."""
        return 1 + math.ceil(self.total_timesteps / self.steps_per_iteration)

    @property
    def whole_timesteps(self) -> int:
        """Return the environment steps of the training: `total_timesteps`, rounded up to whole iterations."""
        return (self.n_iter - 1) * self.steps_per_iteration

    @property
    def warmup(self) -> int:
        """Return the environment steps in which only the critic is trained, in whole updates.

        By default, at least one update is left in which the actor is trained.
        """
        most = min(CRITIC_WARMUP, self.whole_timesteps // 10, self.whole_timesteps - self.steps_per_update)
        usual = 0 if self.from_nothing else most
        steps = usual if self.critic_warmup is None else self.critic_warmup
        return math.ceil(steps / self.steps_per_update) * self.steps_per_update

    @property
    def softening(self) -> float:
        """Return by what the logits of the policy to begin with are divided if its actions are integers."""
        usual = 1.0 if self.from_nothing else TEMPERATURE
        return usual if self.temperature is None else self.temperature

    def learning_rate_at(self, env_steps: int) -> float:
        """Return the learning rate after so many environment steps."""
        done = min(1.0, env_steps / self.whole_timesteps)
        return self.learning_rate * (1.0 if self.lr_schedule == "constant" else (1 + math.cos(math.pi * done)) / 2)

    def kl_weight(self, env_steps: int) -> float:
        """Return the price of leaving the clone after so many environment steps."""
        usual = 0.0 if self.from_nothing else KL_TO_CLONE
        price = usual if self.kl_to_clone is None else self.kl_to_clone
        return price * max(0.0, 1 - env_steps / (self.kl_until or self.whole_timesteps))
