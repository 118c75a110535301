"""What decides a run: one frozen dataclass, and the flags that other commands share."""

from __future__ import annotations

import argparse
import dataclasses
import math
import shlex
from dataclasses import dataclass

from rl_il.errors import InputError
from rl_il.options import option, positive_integer, worker_count
from rl_il.plugins import ACTIVATIONS, AUGMENTATIONS, HEADS, LOSSES, RULES

DEVICES = ("auto", "cpu", "cuda")
MAX_BLOCK = 1000  # gradient steps between two boundaries, where a run can be saved, stopped and evaluated
COMPILE_FROM = 30_000  # gradient steps of a whole run: about as many as fit eagerly into the seconds of compiling
WORKERS_HELP = "processes that roll out episodes, or auto: one a core; the result is the same"


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result. The names and defaults are the course's (CS285 2022, 2023)."""

    # The task
    env_name: str = option("LunarLander-v3", "Gymnasium name of the environment", "env")
    ep_len: int | None = option(None, "longest episode in steps (default: the environment's own limit)")
    expert_policy_file: str | None = option(
        None,
        "the expert: .npz weights, a checkpoint .pt or a run folder, the course's .pkl, Stable-Baselines3's .zip"
        " (hf:ORG/REPO/FILE.zip from the Hugging Face hub), or a scripted expert's name (default: the one shipped for"
        " the environment)",
        "epf",
    )
    expert_activation: str | None = option(
        None, "the expert's nonlinearity, if its .zip names an unknown one", choices=ACTIVATIONS
    )
    expert_data: str | None = option(
        None,
        "the demonstrations: .npz, or the course's .pkl (default: those shipped for the environment)",
        "ed",
    )
    n_demos: int | None = option(None, "learn from this many demonstrated episodes, drawn with the seed")

    # The algorithm
    do_dagger: bool = option(False, "DAgger: relabel the learner's own states with the expert")
    n_iter: int = option(1, "iterations; the first is behavioural cloning, each later one DAgger", "n")
    num_agent_train_steps_per_iter: int = option(1000, "gradient steps an iteration")
    n_epochs: int | None = option(None, "passes over the whole buffer an iteration, instead of gradient steps")
    rule: str = option("dagger", "who acts while data are collected, and which states get a label", choices=RULES)
    beta_decay: float = option(
        0.0, "in DAgger's iteration i the expert acts at each step with probability beta_decay^i (default: never)"
    )
    batch_size: int = option(1000, "environment steps to collect a DAgger iteration (whole episodes)")
    batch_episodes: int | None = option(None, "collect exactly this many episodes a DAgger iteration instead")
    train_batch_size: int = option(100, "rows in a minibatch")
    max_replay_buffer_size: int = option(1_000_000, "most steps the replay buffer keeps; the newest stay")
    val_fraction: float = option(0.0, "fraction of the labelled steps held out to log a validation loss")

    # The policy
    n_layers: int = option(2, "hidden layers")
    size: int = option(64, "units in a hidden layer")
    activation: str = option("tanh", "nonlinearity after each hidden layer", choices=ACTIVATIONS)
    learning_rate: float = option(5e-3, "Adam's step size", "lr")
    weight_decay: float = option(0.0, "decoupled weight decay (AdamW)")
    head: str | None = option(
        None, "what turns features into actions (default: the first that fits the action space)", choices=HEADS
    )
    loss: str | None = option(
        None,
        "what is minimised: nll is cross-entropy for discrete actions and a learnt Gaussian's for continuous"
        " ones (default: nll for discrete actions, mse for continuous ones)",
        choices=LOSSES,
    )
    normalize_obs: bool = option(False, "standardise observations by the demonstrations' mean and std")

    # A policy that sees pictures
    frame_stack: int | None = option(None, "successive pictures that it sees (default: 4)")
    colour: bool = option(False, "it sees colours (default: shades of grey)")
    whole_picture: bool = option(False, "it sees the dials below the picture too (default: they are cropped)")
    augment: str | None = option(
        None, f"change the pictures of each minibatch at random: any of {','.join(AUGMENTATIONS)}, with commas"
    )

    # Evaluation and logging
    eval_batch_size: int = option(
        1000,
        "evaluate on as many whole episodes as the shipped expert needs for this many steps, rounded up; where none"
        " is shipped, as if each lasted to the time limit",
    )
    eval_episodes: int | None = option(None, "evaluate on exactly this many episodes instead")
    eval_interval: str | None = option(
        None,
        "gradient steps between evaluations within an iteration, or the steps to evaluate after, such as"
        " 500,1000,5000 (default: at the iteration's end only, which is always evaluated)",
    )
    exp_name: str | None = option(None, "a word for the run folder's name (default: bc or dagger)", "exp")
    logdir: str | None = option(None, "the run folder itself; must be new or empty (default: data/q1_...)")
    video_log_freq: int = option(5, "iterations between videos; -1: none")
    scalar_log_freq: int = option(
        1, "iterations between evaluations; -1: the last only (the last is always evaluated)"
    )
    save_params: bool = option(False, "accepted for the course's sake: every iteration's policy is saved")

    # The machine
    seed: int = option(1, "root of every random stream")
    device: str = option(
        "auto",
        "where the policy is trained; auto: pictures on a GPU if there is one, all else on the CPU, faster there",
        choices=DEVICES,
    )
    no_gpu: bool = option(False, "the same as --device cpu", "ngpu")
    which_gpu: int = option(0, "number of the GPU, with --device cuda")
    compile: str = option(
        "auto",
        "compile the gradient step, which costs some seconds and makes it several times faster; auto: in runs of"
        f" {COMPILE_FROM:,} steps or more",
        choices=("auto", "on", "off"),
    )
    torch_threads: int = option(
        1, "threads of a gradient step: worth it for pictures alone; another number, other last digits of the result"
    )
    num_workers: int = option(1, WORKERS_HELP, parse=worker_count)

    def __post_init__(self) -> None:
        self._check_iterations()
        self._check_choices()
        self._check_signs()
        self._check_augment()
        self._check_eval_interval()
        self._check_ranges()
        self._check_contradictions()

    def _check_iterations(self) -> None:
        # The two sentences are the course's.
        if self.do_dagger and self.n_iter < 2:
            raise InputError(
                "DAgger needs more than 1 iteration (--n_iter > 1), to iteratively query the expert and train"
                " after behavioural cloning in the first"
            )
        if not self.do_dagger and self.n_iter != 1:
            raise InputError(
                f"plain behavioural cloning collects expert data just once (--n_iter 1), got {self.n_iter};"
                " add --do_dagger for more iterations"
            )

    def _check_choices(self) -> None:
        for item in dataclasses.fields(self):
            value, choices = getattr(self, item.name), item.metadata["choices"]
            if choices and value is not None and value not in choices:
                raise InputError(f"--{item.name} must be one of {', '.join(choices)}, got {value!r}")
        if not isinstance(self.num_workers, int):
            raise InputError(f"num_workers must be an integer, got {self.num_workers!r}")

    def _check_signs(self) -> None:
        positive = "num_agent_train_steps_per_iter batch_size train_batch_size max_replay_buffer_size size"
        positive += " learning_rate eval_batch_size num_workers ep_len n_demos n_epochs eval_episodes frame_stack"
        positive += " batch_episodes torch_threads"
        for name in positive.split():
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"--{name} must be above 0, got {value}")
        for name in ("n_layers", "weight_decay", "seed", "which_gpu"):
            if not getattr(self, name) >= 0:
                raise InputError(f"--{name} must be 0 or more, got {getattr(self, name)}")

    def _check_augment(self) -> None:
        unknown = [name for name in self.augmentations() if name not in AUGMENTATIONS]
        if unknown:
            raise InputError(f"--augment: there is no {unknown[0]!r}; there are {', '.join(AUGMENTATIONS)}")

    def _check_eval_interval(self) -> None:
        counts = self._eval_counts()
        if not all(counts) or counts != sorted({*counts}):
            raise InputError(
                "--eval_interval must be a number of gradient steps above 0, or several in rising order with commas"
                f" (500,1000,5000), got {self.eval_interval!r}"
            )
        if self.n_epochs is None:
            self.evaluation_steps(self.num_agent_train_steps_per_iter)

    def _check_ranges(self) -> None:
        for name in ("learning_rate", "weight_decay"):
            if math.isinf(getattr(self, name)):
                raise InputError(f"--{name} must be finite, got {getattr(self, name)}")
        for name in ("video_log_freq", "scalar_log_freq"):
            if getattr(self, name) == 0 or getattr(self, name) < -1:
                raise InputError(f"--{name} must be -1 (never) or above 0, got {getattr(self, name)}")
        if not 0 <= self.val_fraction < 1:
            raise InputError(f"--val_fraction must be at least 0 and below 1, got {self.val_fraction}")
        if not 0 <= self.beta_decay <= 1:
            raise InputError(f"--beta_decay must be 0 to 1, got {self.beta_decay}")

    def _check_contradictions(self) -> None:
        if not self.do_dagger and (self.rule != "dagger" or self.beta_decay):
            flag = "beta_decay" if self.rule == "dagger" else "rule"
            raise InputError(f"--{flag} is for collecting data; add --do_dagger, or drop it")
        if self.device == "cuda" and self.no_gpu:
            raise InputError("--device cuda and --no_gpu contradict each other; drop one")

    def augmentations(self) -> list[str]:
        """Return the names in `augment`."""
        return [] if self.augment is None else self.augment.split(",")

    def compiles(self, rows: int) -> bool:
        """Return whether the gradient step is compiled, if the first iteration trains on `rows` labelled steps.

        This follows from the configuration and the data, never from timing: compiled and eager steps differ in
        their last digits, and a seed must mean one result.
        """
        long = self.n_iter * self.steps_per_iteration(rows) >= COMPILE_FROM
        return self.compile == "on" or (self.compile == "auto" and long)

    def steps_per_iteration(self, rows: int) -> int:
        """Return the gradient steps of an iteration that trains on `rows` labelled steps."""
        if self.n_epochs is None:
            return self.num_agent_train_steps_per_iter
        return self.n_epochs * math.ceil(rows / self.train_batch_size)

    def block_end(self, done: int, total: int) -> int:
        """Return after how many gradient steps the block ends that begins after `done` of an iteration's `total`."""
        return min(done + MAX_BLOCK, next(step for step in self.evaluation_steps(total) if step > done))

    def is_due(self, itr: int, frequency: int) -> bool:
        """Return whether something is due after this iteration: every `frequency` ones (-1: never), and the last."""
        return itr == self.n_iter - 1 or (frequency > 0 and itr % frequency == 0)

    def evaluation_steps(self, total: int) -> list[int]:
        """Return after how many of an iteration's `total` gradient steps the policy is evaluated; its end is one."""
        steps = self._eval_counts() or [total]
        if steps[-1] > total:
            raise InputError(f"--eval_interval {self.eval_interval}: an iteration has only {total} gradient steps")
        if len(steps) == 1:
            steps = list(range(steps[0], total, steps[0]))
        return [step for step in steps if step < total] + [total]

    def _eval_counts(self) -> list[int]:
        """Return the numbers in `eval_interval`, with 0 for a text that is not one; empty by default."""
        texts = [] if self.eval_interval is None else self.eval_interval.split(",")
        return [int(text) if text.strip().isdecimal() else 0 for text in texts]


def command_of(config: RunConfig) -> str:
    """Return the command line that makes this run again, in a new folder."""
    words = ["python", "scripts/run_hw1.py"]
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.name == "env_name" or (value != item.default and item.name != "logdir"):
            words += [f"--{item.name}"] + ([] if value is True else [str(value)])
    return shlex.join(words)


def add_rollout_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the commands that roll out a policy without training one."""
    add = parser.add_argument
    add(
        "--policy",
        default="expert",
        help="expert (the shipped one), random, a scripted expert, a .npz, .pt, course .pkl or Stable-Baselines3 .zip"
        " file, hf:ORG/REPO/FILE.zip, or a run folder (default: %(default)s)",
    )
    add("--expert_activation", choices=ACTIVATIONS, help="the nonlinearity, if a .zip names an unknown one")
    add("--env_name", "-env", default="LunarLander-v3", help="environment (default: %(default)s)")
    add("--seed", type=int, default=0, help="root of the episodes' seeds (default: %(default)s)")
    add("--ep_len", type=positive_integer, help="longest episode in steps (default: the environment's own limit)")
    add_workers_argument(parser)


def add_workers_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--num_workers`."""
    help = f"{WORKERS_HELP} (default: %(default)s)"
    parser.add_argument("--num_workers", metavar="INT", type=worker_count, default=1, help=help)
