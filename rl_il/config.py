"""The settings of a run: one frozen dataclass, and the flags that other commands share."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from rl_il.checks import COMPILE, check_settings
from rl_il.errors import InputError
from rl_il.files import named_run
from rl_il.limits import MAX_EVALUATIONS
from rl_il.options import (
    check_types,
    expand_paths,
    named_values,
    option,
    values_text,
    worker_count,
)
from rl_il.plugins import ACTIVATIONS, AUGMENTATIONS, HEADS, LOSSES, POLICIES, RULES
from rl_il.settings import ENV as ENV
from rl_il.settings import Settings

DEVICES = ("auto", "cpu", "cuda")
ENSEMBLE_MINIBATCHES = ("own", "shared")
LR_SCHEDULES = ("constant", "cosine")
TRACKERS = ("mlflow", "wandb")
MAX_BLOCK = 1000  # gradient steps between two points where a run can be saved, stopped and evaluated
COMPILE_FROM = 15_000  # gradient steps: in two runs of so many, compiled steps save the time to compile them once
READING = ("keys", "obs_keys", "split_every")
"""The settings that say how the file of demonstrations is read."""


@dataclass(frozen=True)
class RunConfig(Settings):
    """Everything that decides a run's result. The names and defaults are the course's (CS285 2022, 2023)."""

    env_name: str = option(
        "LunarLander-v3",
        "name of a Gymnasium environment, or module:Name of your own",
        "env",
        group="task",
    )
    env_kwargs: str | None = option(
        None, "arguments of the environment's constructor, such as gravity=-4.0 enable_wind=true", words=True
    )
    wrappers: str | None = option(
        None,
        "wrappers around the environment, the innermost first, such as gymnasium.wrappers:TimeAwareObservation or"
        " 'my_env:MyWrapper(size=3)'",
        words=True,
    )
    ep_len: int | None = option(None, "longest episode, in steps (default: the environment's own limit)")

    expert_data: str | None = option(
        None,
        "demonstrations to learn from: a file or folder of any known format, such as .npz, .pkl, JSON or CSV, the"
        " folder of a teaching session, or module:Name of a function that returns them (default: those included for"
        " the environment)",
        "ed",
        group="data",
        path=True,
    )
    keys: str | None = option(
        None,
        "the names of the arrays in the file of demonstrations, such as obs=joints,actions=torques. It is needed only"
        " if a name is unknown here, or if two names have the same meaning",
    )
    obs_keys: str | None = option(
        None,
        "the parts of an observation to join, in this order, separated by commas, if the observations in"
        " --expert_data have named parts (default: all vectors, in the order of their names)",
    )
    split_every: int | None = option(
        None,
        "the length of each episode in steps, if --expert_data does not say where episodes end and all have one"
        " length",
    )
    n_demos: int | None = option(
        None, "number of demonstrated episodes to learn from, chosen at random (default: all)"
    )
    thin_demos: int | None = option(
        None, "keep only this many labelled steps of the demonstrations, spread evenly over them (default: all)"
    )
    expert_policy_file: str | None = option(
        None,
        "the expert. It labels states in DAgger, and the policy is compared with it. Accepted: weights (.npz), a"
        " policy (.pt, or a run folder; latest is the newest one), the course's .pkl, a .zip of Stable-Baselines3"
        " (hf:ORG/REPO/FILE.zip downloads one from the Hugging Face hub), a state_dict of linear layers (.pt, .pth),"
        " the name of a scripted expert, or module:Name of your own function or class (default: the one included for"
        " the environment)",
        "epf",
        parse=named_run,
        path=True,
    )
    expert_activation: str | None = option(
        None,
        "the expert's activation function, if its file does not name it (a state_dict), or names one that is unknown"
        " here (a .zip)",
        choices=ACTIVATIONS,
    )
    no_normalizer: bool = option(
        False, "let an expert of another library act on raw observations, without the normaliser of its training"
    )

    policy_class: str | None = option(
        None,
        "the class of the policy, module:Name of your own (default: one for vectors or for pictures)",
        choices=POLICIES,
        group="policy",
        own=True,
    )
    n_layers: int = option(2, "number of hidden layers")
    size: int = option(64, "units in each hidden layer")
    activation: str = option(
        "tanh",
        f"activation function after each hidden layer: {', '.join(ACTIVATIONS)}, or a torch module, module:Name",
        choices=ACTIVATIONS,
        own=True,
    )
    head: str | None = option(
        None,
        f"the distribution of actions that the network predicts: {', '.join(HEADS)}, or your own, module:Name"
        " (default: the first one that fits the actions)",
        choices=HEADS,
        own=True,
    )
    modes: int | None = option(None, "Gaussian distributions of the head mixture (default: 5)")
    flow_steps: int | None = option(None, "steps from noise to an action of the head flow (default: 10)")
    ensemble: int = option(
        1,
        "networks in the policy. Several, which begin with different weights, act by their mean, or by a vote if"
        " actions are integers, and their disagreement says how sure the policy is",
    )
    ensemble_minibatches: str = option(
        "own",
        "what the networks of --ensemble are trained on. own: each draws its own minibatches. shared: all get the"
        " same ones, so that they differ by their initial weights only",
        choices=ENSEMBLE_MINIBATCHES,
    )
    normalize_obs: bool = option(
        False, "standardise each number of an observation by its mean and standard deviation in the demonstrations"
    )
    normalize_acs: bool = option(
        False,
        "learn continuous actions standardised by their mean and standard deviation in the demonstrations. The policy"
        " acts in the actions' own units. It is needed if these are large, such as pixels, or differ much",
    )
    layer_norm: bool = option(
        False,
        "normalise the outputs of each hidden layer, before the activation (LayerNorm). It makes training less"
        " sensitive to the learning rate and the size of the inputs",
    )
    dropout: float = option(
        0.0,
        "set this fraction of the units to 0 after each activation, at random in each gradient step, so that the"
        " network relies on no single unit. It has no effect on acting",
    )

    num_agent_train_steps_per_iter: int = option(1000, "gradient steps in each iteration", group="training")
    n_epochs: int | None = option(
        None, "passes over all data so far in each iteration, instead of a number of gradient steps"
    )
    train_batch_size: int = option(100, "labelled states in the minibatch of each gradient step")
    learning_rate: float = option(5e-3, "learning rate of the optimiser, Adam", "lr")
    lr_schedule: str = option(
        "constant",
        "how the learning rate changes. cosine: it decreases to 0 over the gradient steps of all iterations together,"
        " so that the last steps settle",
        choices=LR_SCHEDULES,
    )
    weight_decay: float = option(0.0, "weight decay, decoupled from the gradient (AdamW)")
    average_weights: bool = option(
        False,
        "act with a moving average of the weights of the last gradient steps, which is less noisy than the last ones;"
        " it is evaluated and saved, too",
    )
    loss: str | None = option(
        None,
        "the loss. nll: negative log-likelihood, which is cross-entropy for discrete actions; for continuous"
        " actions it learns a standard deviation. mse: mean squared error. l1: mean absolute error. module:Name: your"
        " own (default: nll for discrete actions, mse for continuous ones)",
        choices=LOSSES,
        own=True,
    )
    augment: str | None = option(
        None,
        f"change the observations of each minibatch at random: one or more of {','.join(AUGMENTATIONS)} and"
        " module:Name, separated by commas. noise, Gaussian, is for vectors; the others are for pictures",
    )
    augment_noise: float = option(
        0.05,
        "the standard deviation of --augment noise, as a fraction of that of each number in the demonstrations",
    )
    val_fraction: float = option(
        0.0, "fraction of the labelled steps that is not used for training, but for a validation loss"
    )
    max_replay_buffer_size: int = option(
        1_000_000, "maximum number of steps in the replay buffer. When it is full, the oldest are dropped"
    )
    seed: int = option(1, "seed of everything that is random; the same seed and settings give the same result")

    do_dagger: bool = option(
        False,
        "run DAgger. In each iteration after the first, the policy acts, the expert labels the visited states, and"
        " the policy is trained on all data so far",
        group="DAgger",
    )
    n_iter: int = option(
        1, "iterations. The first is behavioural cloning, each later one is an iteration of DAgger", "n"
    )
    rule: str = option(
        "dagger",
        "who acts while data are collected, and which visited states are labelled. dagger: the policy acts, and all"
        f" visited states are labelled. Others that need fewer labels: {', '.join([*RULES][1:])}; rl-il list rules"
        " explains them. module:Name: your own",
        choices=RULES,
        own=True,
    )
    rule_kwargs: str | None = option(
        None, "arguments of the rule's constructor, such as threshold=0.3 release=0.1", words=True
    )
    labels_per_iter: int | None = option(
        None,
        "the most labels that the rule may ask for in each iteration after the first; it chooses among all states"
        " that were visited in it (default: no limit)",
    )
    max_labels: int | None = option(
        None,
        "end the run after the iteration in which so many labels are reached, those of the demonstrations included;"
        " that iteration gets only the labels that are left (default: no limit)",
    )
    beta_decay: float = option(
        0.0,
        "in iteration i, the expert acts instead of the policy with probability beta_decay^i at each step. 0: the"
        " expert never acts",
    )
    batch_size: int = option(
        1000,
        "environment steps to collect in each iteration. The last episode is always completed. The size of a"
        " minibatch is --train_batch_size",
    )
    batch_episodes: int | None = option(
        None, "collect exactly this many episodes in each iteration, instead of --batch_size steps"
    )

    history: int | None = option(
        None,
        "how many of the last observations the policy sees at once (default: 1; pictures: 4)",
        group="observations and actions in a row",
        old="frame_stack",
    )
    chunk: int = option(1, "how many successive actions the policy predicts together")
    execute: int | None = option(
        None, "how many of these actions are carried out before the policy predicts again (default: all)"
    )
    pad_chunks: bool = option(
        False,
        "also train on states that are followed by fewer than --chunk labels in their episode: the last label is"
        " repeated",
    )

    colour: bool = option(False, "give the policy pictures in colour (default: in grey)", group="pictures")
    whole_picture: bool = option(False, "give the policy the dials below the picture too (default: they are cropped)")

    eval_batch_size: int = option(
        1000,
        "environment steps of an evaluation. They are converted to whole episodes, by the usual episode length of the"
        " included expert, or by the time limit if there is no included expert",
        group="evaluation and logging",
    )
    eval_episodes: int | None = option(
        None, "evaluate on exactly this many episodes, instead of --eval_batch_size steps"
    )
    eval_seeds: str | None = option(
        None,
        "evaluate on the episodes with these seeds, start:stop: 0:100 has the seeds 0 to 99. Never choose settings by"
        " results on the seeds that you report (default: seeds that follow from --seed)",
    )
    eval_interval: str | None = option(
        None,
        "evaluate within an iteration too: after every N gradient steps (500), or after the given steps"
        " (500,1000,5000) (default: only at the end of an iteration)",
    )
    scalar_log_freq: int = option(
        1, "evaluate every N iterations, and after the last one. -1: only after the last one"
    )
    video_log_freq: int = option(5, "save a video every N iterations, and after the last one. -1: no videos")
    log_interval: int | None = option(
        None,
        "also write log.csv, as CS285's homework of 2026 does: the loss of every N-th gradient step (train/loss), and"
        " the mean score of each evaluation (eval/mean_reward)",
    )
    tracker: str | None = option(
        None,
        "also send settings and metrics to MLflow or Weights & Biases; needs `pip install mlflow` or `pip install"
        " wandb`",
        choices=TRACKERS,
    )
    exp_name: str | None = option(None, "a word in the name of the run folder (default: bc or dagger)", "exp")
    logdir: str | None = option(
        None,
        "the run folder; it must be new or empty (default: q1_... for BC, q2_... for DAgger, in ./data or"
        " $RL_IL_DATA)",
        path=True,
    )
    save_params: bool = option(
        False, "has no effect: the policy of each iteration is always saved. The course has this flag"
    )

    device: str = option(
        "auto",
        "the device of the training. auto: a GPU if there is one and the policy sees pictures, else the CPU, which is"
        " faster for small networks",
        choices=DEVICES,
        group="machine",
    )
    no_gpu: bool = option(False, "the same as --device cpu", "ngpu")
    which_gpu: int = option(0, "which GPU is used, counted from 0")
    compile: str = option(
        os.environ.get(COMPILE) or "auto",
        "compile the gradient step, which makes the training several times faster. It takes some seconds, but only"
        f" once for each network shape on a machine. auto: in runs of {COMPILE_FROM:,} gradient steps or more, but"
        " not for pictures. On a GPU, the step is captured as a CUDA graph instead, at no cost, unless this is off."
        f" The environment variable {COMPILE} gives another default",
        choices=("auto", "on", "off"),
    )
    torch_threads: int = option(
        1,
        "CPU threads of a gradient step. More than 1 is worth it only with pictures, and changes the last"
        " digits of the result",
    )
    num_workers: int = option(
        1,
        "processes that roll out episodes, or auto for one per core; their number does not change the result",
        parse=worker_count,
    )

    def __post_init__(self) -> None:
        self.spell_env()
        self._spell_rule()
        expand_paths(self)
        check_types(RunConfig, vars(self))
        check_settings(self)

    def _spell_rule(self) -> None:
        """Write the arguments of the rule in one way, so that equal ones are equal texts."""
        if self.rule_kwargs is not None:
            object.__setattr__(self, "rule_kwargs", values_text(self.rule_values()))

    @property
    def algorithm(self) -> str:
        """Return `DAgger` or `BC`, for behavioural cloning."""
        return "DAgger" if self.do_dagger else "BC"

    def rule_values(self) -> dict[str, Any]:
        """Return the arguments of the rule's constructor that `rule_kwargs` gives."""
        return {} if self.rule_kwargs is None else named_values("--rule_kwargs", self.rule_kwargs)

    def label_budget(self, used: int) -> int | None:
        """Return how many labels the next iteration may get if `used` were given so far; None: no limit.

        A chosen state brings the labels of a whole chunk, so a rest that is smaller than a chunk is no label.
        """
        left = None if self.max_labels is None else max(self.max_labels - used, 0)
        budget = min((n for n in (self.labels_per_iter, left) if n is not None), default=None)
        return None if budget is None else budget // self.chunk * self.chunk

    def augmentations(self) -> list[str]:
        """Return the names of the augmentations in `augment`."""
        return [] if self.augment is None else self.augment.split(",")

    def compiles(self, rows: int) -> bool:
        """Return whether the gradient step is compiled, if the first iteration trains on `rows` labelled steps.

        This follows from the configuration and the data, never from a measured time or from what was compiled before:
        compiled and eager steps differ in the last digits, and the same seed must give the same result.
        """
        long = self.total_steps(rows) >= COMPILE_FROM
        return self.compile == "on" or (self.compile == "auto" and long)

    def total_steps(self, rows: int) -> int:
        """Return the gradient steps of a run whose iterations train on `rows` labelled steps."""
        return self.n_iter * self.steps_per_iteration(rows)

    def steps_per_iteration(self, rows: int) -> int:
        """Return the gradient steps of an iteration that trains on `rows` labelled steps."""
        if self.n_epochs is None:
            return self.num_agent_train_steps_per_iter
        return self.n_epochs * math.ceil(rows / self.train_batch_size)

    def block_end(self, done: int, total: int) -> int:
        """Return the gradient step at which a block ends that begins after `done` of an iteration's `total` steps."""
        return min(done + MAX_BLOCK, next(step for step in self.evaluation_steps(total) if step > done))

    def evaluation_steps(self, total: int) -> list[int]:
        """Return the gradient steps of an iteration after which the policy is evaluated; the last is `total`.

        Raise `InputError` if one of them is beyond `total`, which is unknown beforehand with `n_epochs`: then an
        interval may be longer.
        """
        steps = self.eval_counts() or [total]
        if self.n_epochs and len(steps) == 1:
            steps = [min(steps[0], total)]
        if steps[-1] > total:
            raise InputError(f"--eval_interval {self.eval_interval}: an iteration has only {total} gradient steps")
        if len(steps) == 1:
            if total // steps[0] > MAX_EVALUATIONS:
                raise InputError(
                    f"--eval_interval {self.eval_interval}: an iteration can have at most {MAX_EVALUATIONS:,}"
                    f" evaluations, got {total // steps[0]:,}"
                )
            steps = list(range(steps[0], total, steps[0]))
        return [step for step in steps if step < total] + [total]

    def eval_counts(self) -> list[int]:
        """Return the numbers in `eval_interval`. Raise `InputError` if they are not above 0 and in order."""
        texts = [] if self.eval_interval is None else self.eval_interval.split(",")
        counts = [int(text) if text.strip().isdecimal() else 0 for text in texts]
        if not all(counts) or counts != sorted({*counts}):
            raise InputError(
                "--eval_interval must be a number of gradient steps above 0, or several in increasing order with"
                f" commas between them (500,1000,5000), got {self.eval_interval!r}"
            )
        return counts
