"""The settings of a teaching session; the fields are the flags of `teach.py`. Importing this file is fast."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass

from rl_il.checks import COMPILE
from rl_il.config import COMPILE_FROM, RunConfig
from rl_il.errors import InputError
from rl_il.limits import check_counts
from rl_il.options import check_choices, expand_paths, option, same_option

EPISODES = 10  # of the scripted teacher, if --episodes is not given
MODES = ("demonstrate", "teach", "watch")


@dataclass(frozen=True)
class TeachConfig:
    """Everything that determines a session, taught by a person or by the scripted teacher."""

    env_name: str = option(
        "MountainCar-v0", "name of a Gymnasium environment, or module:Name", "env", group="task and teacher"
    )
    env_kwargs: str | None = same_option(RunConfig, "env_kwargs")
    wrappers: str | None = same_option(RunConfig, "wrappers")
    ep_len: int | None = option(None, "maximum length of an episode, in steps (default: the environment's limit)")
    mode: str = option("teach", "who acts at first; the page can change it", choices=MODES)
    teacher: str | None = option(
        None,
        "scripted: an expert presses the keys, without a page; scripted:0.1: one key in ten is wrong (default: you)",
    )
    expert_policy_file: str | None = option(
        None, "the expert of --teacher scripted (default: the one included for the environment)", "epf", path=True
    )
    expert_activation: str | None = same_option(RunConfig, "expert_activation")
    no_normalizer: bool = same_option(RunConfig, "no_normalizer")
    disagreement_steps: int = option(
        1, "the scripted teacher takes over after disagreeing for this many steps in a row"
    )
    takeover_steps: int = option(15, "it then acts for at least this many steps and until it agrees with the agent")
    episodes: int | None = option(None, "end after this many episodes (default: none; with --teacher scripted: 10)")
    max_labels: int | None = option(
        None, "end when you have given so many labels; the page shows how many are left (default: no limit)"
    )
    key_values: str | None = option(
        None, "strengths of keys for continuous actions, such as ArrowUp=0.4,ArrowLeft=-0.3"
    )

    labels: str = option(
        "human",
        "the steps that are trained on. human: only the teacher's. performed: also the agent's own steps, which"
        " count as approved because you did not correct them. weighted: the same, but approved steps are drawn less"
        " often (--approval_weight)",
        choices=("human", "performed", "weighted"),
        group="training",
    )
    approval_weight: float = option(
        0.2, "with --labels weighted: how often an approved step is drawn, relative to a teacher's step"
    )
    updates_per_step: float = option(
        4.0, "gradient steps for each environment step; 0: record only, without training"
    )
    publish_every: int = option(100, "gradient steps between two snapshots; each episode uses the newest one")
    hot_swap: bool = option(False, "use a new snapshot at once, also in the middle of an episode")
    rest_after: int = option(5000, "training waits for a new label after this many gradient steps without one")
    train_batch_size: int = same_option(RunConfig, "train_batch_size")
    max_replay_buffer_size: int = option(1_000_000, "maximum number of steps kept for training; the newest are kept")
    eval_every: int = option(5, "episodes between two evaluations of the newest snapshot acting alone; -1: never")
    eval_episodes: int = option(5, "episodes in each evaluation; the interval of the mean needs at least 5")

    n_layers: int = option(2, "number of hidden layers", group="policy and optimiser")
    size: int = same_option(RunConfig, "size")
    activation: str = same_option(RunConfig, "activation")
    layer_norm: bool = same_option(RunConfig, "layer_norm")
    dropout: float = same_option(RunConfig, "dropout")
    policy_class: str | None = same_option(RunConfig, "policy_class")
    head: str | None = same_option(RunConfig, "head")
    learning_rate: float = option(2e-3, "learning rate of the optimiser, Adam", "lr")
    weight_decay: float = same_option(RunConfig, "weight_decay")
    loss: str | None = same_option(RunConfig, "loss")
    compile: str = option(
        os.environ.get(COMPILE) or "auto",
        "compile the gradient step of a session with the scripted teacher. auto: if its episodes can have"
        f" {COMPILE_FROM:,} gradient steps or more. With a person, eager steps are always fast enough",
        choices=("auto", "on", "off"),
    )

    seed: int = option(1, "seed of everything that is random", group="session")
    logdir: str | None = option(
        None, "the run folder; it must be new or empty (default: teach_... in ./data or $RL_IL_DATA)", path=True
    )
    tracker: str | None = same_option(RunConfig, "tracker")
    port: int = option(8765, "the page's port on 127.0.0.1; 0: any free port")
    open: bool = option(False, "open the page in the browser")

    def __post_init__(self) -> None:
        expand_paths(self)
        self.run_config()  # checks the settings that are also in RunConfig
        check_counts(self)
        check_choices(self)
        for name in "episodes max_labels disagreement_steps takeover_steps publish_every rest_after".split():
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"--{name} must be above 0, got {value}")
        if not 0 <= self.updates_per_step < math.inf:
            raise InputError(f"--updates_per_step must be 0 or more, got {self.updates_per_step}")
        if not 0 <= self.approval_weight <= 1:
            raise InputError(f"--approval_weight must be between 0 and 1, got {self.approval_weight}")
        if self.eval_every == 0 or self.eval_every < -1:
            raise InputError(f"--eval_every must be -1 (never) or above 0, got {self.eval_every}")
        if not 0 <= self.port <= 65535:
            raise InputError(f"--port must be between 0 and 65535, got {self.port}")
        self._check_teacher()

    def _check_teacher(self) -> None:
        if self.teacher is None:
            for name in ("expert_policy_file", "expert_activation", "no_normalizer"):
                if getattr(self, name):
                    raise InputError(f"--{name} needs --teacher scripted; add that, or drop it")
            return
        name, colon, noise = self.teacher.partition(":")
        try:
            valid = name == "scripted" and (not colon or 0 <= float(noise) < 1)
        except ValueError:
            valid = False
        if not valid:
            expected = "scripted, or scripted:NOISE with 0 <= NOISE < 1"
            raise InputError(f"--teacher must be {expected}, got {self.teacher!r:.100}")
        if self.mode != "teach":
            raise InputError(f"--teacher scripted works only in the mode teach; drop --mode {self.mode}")

    @property
    def noise(self) -> float:
        """Return the probability that the scripted teacher presses a wrong key."""
        return float((self.teacher or "").partition(":")[2] or 0)

    def compiles(self, max_path_length: int) -> bool:
        """Return whether the gradient step is compiled, if an episode has at most so many steps."""
        steps = (self.episodes or EPISODES) * max_path_length * self.updates_per_step
        long = self.compile == "auto" and steps >= COMPILE_FROM
        return self.teacher is not None and (self.compile == "on" or long)

    def run_config(self) -> RunConfig:
        """Return the settings that `RunConfig` has too, for the code that builds policies."""
        shared = {item.name for item in dataclasses.fields(RunConfig)} & vars(self).keys()
        return RunConfig(**{name: getattr(self, name) for name in shared})
