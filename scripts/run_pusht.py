"""Behavioural cloning of Push-T, with the flags of CS285's homework 1 (2026)."""

import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path

from rl_il.config import RunConfig
from rl_il.errors import InputError, go_on_without_output, run_command
from rl_il.options import (
    CommandParser,
    add_arguments,
    check_choices,
    expand_paths,
    from_arguments,
    option,
    same_option,
)

ENV_NAME = "gym_pusht/PushT-v0"

EXAMPLES = """examples:
  the course's two policies, each in 400 passes over the demonstrations (the environment: make pusht-env):
    python scripts/run_pusht.py --policy_type mse
    python scripts/run_pusht.py --policy_type flow --exp_name flow
  a mixture of Gaussians that plans 8 actions and carries out 4, in wider layers, rolled out by all cores:
    python scripts/run_pusht.py --policy-type mixture --execute 4 --hidden-dims 512 512 512 --num_workers auto
  a quick look, of a few minutes, with demonstrations that lie elsewhere:
    python scripts/run_pusht.py --policy_type flow --num_epochs 20 --data_dir ../hw1/data
  continue the newest run after Ctrl-C:
    python scripts/run_hw1.py --resume latest

The run folder is as that of run_hw1.py, which has many more flags. It also has the course's log.csv, with the columns
train/loss, eval/mean_reward (the mean over the episodes of the largest reward) and step.
"""


@dataclass(frozen=True)
class CourseConfig:
    """The course's settings, with its names and defaults, and some of ours."""

    data_dir: str = option(
        "data",
        "the folder of the demonstrations, as the course's code leaves it; if there are none in it, pusht.zip is"
        " downloaded into it (about 30 MB). Or a file of demonstrations, such as .npz",
        group="as in the course",
        path=True,
    )
    policy_type: str = option(
        "mse",
        "what the network predicts. mse: one chunk of actions, the mean of what people did; flow: chunks drawn by"
        " flow matching; mixture: chunks drawn from 5 Gaussians (not in the course)",
        choices=("mse", "flow", "mixture"),
    )
    flow_num_steps: int = option(10, "steps from noise to a chunk of actions, with --policy_type flow")
    chunk_size: int = option(8, "how many successive actions are predicted together")
    batch_size: int = option(128, "chunks in the minibatch of each gradient step")
    lr: float = option(3e-4, "learning rate of Adam")
    weight_decay: float = option(0.0, "weight decay, decoupled from the gradient (AdamW)")
    hidden_dims: str = option("256 256 256", "the width of each hidden layer; all must be equal", words=True)
    num_epochs: int = option(400, "passes over all chunks of the demonstrations")
    eval_interval: int = option(
        10_000, "evaluate on 100 episodes, with the seeds 0 to 99, every N gradient steps, and at the end"
    )
    num_video_episodes: int = option(
        5, "0: no video. Otherwise one episode is recorded at the end, as a GIF (the course records so many)"
    )
    log_interval: int = option(100, "write the loss of every N-th gradient step into log.csv")
    seed: int = option(42, "seed of everything that is random; the same seed and settings give the same result")
    exp_name: str | None = same_option(RunConfig, "exp_name")

    execute: int | None = option(
        None, "how many actions of a chunk are carried out before the next one (default: all)", group="others"
    )
    tracker: str | None = same_option(RunConfig, "tracker")
    logdir: str | None = same_option(RunConfig, "logdir")
    device: str = same_option(RunConfig, "device")
    num_workers: int = same_option(RunConfig, "num_workers")

    def __post_init__(self) -> None:
        expand_paths(self)
        check_choices(self)
        self.widths()
        if self.num_video_episodes < 0:
            raise InputError(f"--num_video_episodes must be 0 or more, got {self.num_video_episodes}")

    def widths(self) -> list[int]:
        """Return the widths of the hidden layers. Raise `InputError` if they differ."""
        words = self.hidden_dims.replace(",", " ").split()
        if not all(word.isdecimal() for word in words) or not words or int(words[0]) < 1:
            raise InputError(f"--hidden_dims must be integers above 0, such as 256 256 256, got {self.hidden_dims}")
        if len({*words}) > 1:
            raise InputError(
                f"--hidden_dims {self.hidden_dims}: all layers must have one width here; for other networks, write"
                " your own class, and give it to run_hw1.py as --policy_class module:Name"
            )
        return [int(word) for word in words]


NAMES = {
    "policy_type": "head",
    "flow_num_steps": "flow_steps",
    "chunk_size": "chunk",
    "batch_size": "train_batch_size",
    "lr": "learning_rate",
    "num_epochs": "n_epochs",
    "data_dir": "expert_data",
    "hidden_dims": "size",
}
"""The course's names of settings, and ours. All others have the same name."""
SAME = "weight_decay log_interval seed exp_name execute tracker logdir device num_workers".split()


def run_config(config: CourseConfig, demonstrations: str) -> RunConfig:
    """Return the settings of the run that the course's settings describe, with this file of demonstrations."""
    values = {ours: getattr(config, course) for course, ours in NAMES.items()}
    values |= {name: getattr(config, name) for name in SAME}
    values |= {
        "env_name": ENV_NAME,
        "expert_data": demonstrations,
        "head": None if config.policy_type == "mse" else config.policy_type,
        "flow_steps": config.flow_num_steps if config.policy_type == "flow" else None,
        "n_layers": len(config.widths()),
        "size": config.widths()[0],
        "activation": "relu",
        "normalize_obs": True,
        "normalize_acs": True,
        "eval_interval": str(config.eval_interval),
        "eval_seeds": "0:100",
        "video_log_freq": 1 if config.num_video_episodes else -1,
    }
    return RunConfig(**values)


def in_course_words(text: str) -> str:
    """Return a message with the course's names of flags in the place of ours, and mark flags of run_hw1.py alone."""
    for course, ours in NAMES.items():
        text = re.sub(rf"--{ours}\b", f"--{course}", text)
    others = {item.name for item in fields(RunConfig)} - {item.name for item in fields(CourseConfig)}
    return re.sub(r"--(\w+)", lambda flag: flag[0] + " (of run_hw1.py)" * (flag[1] in others), text)


class Parser(CommandParser):
    """A parser that accepts dashes in the names of flags, as the course's does."""

    def parse_known_args(self, args=None, namespace=None):
        """Parse the flags."""
        return super().parse_known_args(map(with_underscores, sys.argv[1:] if args is None else args), namespace)


def with_underscores(word: str) -> str:
    """Return a word of the command line, with underscores in the place of dashes if it is the name of a flag."""
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if word.startswith("--") else word


def main() -> None:
    """Parse the flags, find the demonstrations, and run."""
    parser = Parser(__doc__, EXAMPLES)
    add_arguments(parser, CourseConfig)
    config = from_arguments(CourseConfig, parser.parse_args())
    try:
        run_config(config, "-")  # so that a mistake is reported before anything is downloaded

        from rl_il.datasets.pusht import find_demonstrations
        from rl_il.envs import make_env
        from rl_il.runs.experiment import run
        from rl_il.runs.provenance import command_line
        from rl_il.runs.trackers import check_tracker

        go_on_without_output()
        check_tracker(config.tracker)
        make_env(ENV_NAME).close()
        run(run_config(config, str(find_demonstrations(Path(config.data_dir)))), command_line())
    except InputError as error:
        error.args = (in_course_words(str(error)),)
        raise


if __name__ == "__main__":
    run_command(main)
