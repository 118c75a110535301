"""The settings of a teaching run; its fields are `teach.py`'s flags. Imports nothing slow."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from rl_il.config import ACTIVATIONS, LOSSES, RunConfig
from rl_il.errors import InputError
from rl_il.options import option

MODES = ("demonstrate", "teach", "watch")


@dataclass(frozen=True)
class TeachConfig:
    """Everything that decides how a person, or the stand-in, teaches."""

    # The task and the teacher
    env_name: str = option("MountainCar-v0", "Gymnasium name of the environment", "env")
    ep_len: int | None = option(None, "longest episode in steps (default: the environment's own limit)")
    mode: str = option("teach", "who acts at first; the page can change it", choices=MODES)
    teacher: str | None = option(
        None,
        "scripted: the expert presses the keys, without a page; scripted:0.1: and every tenth key is a wrong one",
    )
    expert_policy_file: str | None = option(
        None, "the expert behind --teacher scripted (default: the one shipped for the environment)", "epf"
    )
    disagreement_steps: int = option(1, "the stand-in takes over after so many steps of disagreement in a row")
    takeover_steps: int = option(15, "and acts for so many steps, or until they agree, whichever is later")
    episodes: int | None = option(None, "end after so many episodes (default: go on until Ctrl-C; scripted: 10)")
    key_values: str | None = option(
        None, "other strengths for keys of continuous actions, such as ArrowUp=0.4,ArrowLeft=-0.3"
    )

    # What is learnt, and how
    labels: str = option(
        "human",
        "the steps that train: human, the teacher's alone; performed, the agent's own too; weighted, these with"
        " --approval_weight",
        choices=("human", "performed", "weighted"),
    )
    approval_weight: float = option(
        0.2, "with --labels weighted, how often an approved step is drawn for each time that a teacher's is"
    )
    updates_per_step: float = option(4.0, "gradient steps an environment step; 0: record, and learn nothing")
    publish_every: int = option(100, "gradient steps between two snapshots; an episode plays the newest")
    hot_swap: bool = option(False, "take a new snapshot at once, in the middle of an episode")
    rest_after: int = option(5000, "training rests after so many gradient steps without a new label")
    train_batch_size: int = option(100, "rows in a minibatch")
    max_replay_buffer_size: int = option(1_000_000, "most steps that are kept for training; the newest stay")
    eval_every: int = option(5, "episodes between measurements of the newest snapshot alone; -1: never")
    eval_episodes: int = option(5, "episodes a measurement")

    # The policy
    n_layers: int = option(2, "hidden layers")
    size: int = option(64, "units in a hidden layer")
    activation: str = option("tanh", "nonlinearity after each hidden layer", choices=ACTIVATIONS)
    learning_rate: float = option(2e-3, "Adam's step size", "lr")
    weight_decay: float = option(0.0, "decoupled weight decay (AdamW)")
    loss: str | None = option(None, "what is minimised (default: nll for discrete actions, else mse)", choices=LOSSES)

    # The run
    seed: int = option(1, "root of every random stream")
    logdir: str | None = option(None, "the run folder itself; must be new or empty (default: data/teach_...)")
    tracker: str | None = option(None, "send the metrics there too; needs `pip install mlflow`", choices=("mlflow",))
    port: int = option(8765, "the page's port on 127.0.0.1; 0: any free one")
    open: bool = option(False, "open the page in the browser")

    def __post_init__(self) -> None:
        self.run_config()  # which checks what a run has too
        for item in dataclasses.fields(self):
            value, choices = getattr(self, item.name), item.metadata["choices"]
            if choices and value is not None and value not in choices:
                raise InputError(f"--{item.name} must be one of {', '.join(choices)}, got {value!r:.100}")
        for name in "episodes disagreement_steps takeover_steps publish_every rest_after".split():
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
            if self.expert_policy_file:
                raise InputError("--expert_policy_file is the expert behind --teacher scripted; add that, or drop it")
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
            raise InputError(f"--teacher scripted takes over from the agent; drop --mode {self.mode}")

    @property
    def noise(self) -> float:
        """How often the stand-in presses a wrong key."""
        return float((self.teacher or "").partition(":")[2] or 0)

    def run_config(self) -> RunConfig:
        """Return the settings that a run has too, for the code that builds policies."""
        shared = {item.name for item in dataclasses.fields(RunConfig)} & vars(self).keys()
        return RunConfig(**{name: getattr(self, name) for name in shared})
