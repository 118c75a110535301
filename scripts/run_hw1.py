"""Behavioural cloning and DAgger, with the course's flags (CS285 homework 1, 2022 and 2023)."""

import argparse
from pathlib import Path

from rl_il.config import RunConfig
from rl_il.errors import InputError, run_command
from rl_il.options import HelpFormatter, add_arguments, from_arguments

RESUMING = ("resume", "num_workers")

EXAMPLES = """examples:
  clone the shipped LunarLander expert:
    python scripts/run_hw1.py --env_name LunarLander-v3 --eval_episodes 20
  from one demonstration, then DAgger for ten iterations:
    python scripts/run_hw1.py --env_name LunarLander-v3 --n_demos 1 --do_dagger --n_iter 11
  a run that was stopped or killed, to the result that it would have had:
    python scripts/run_hw1.py --resume data/q2_dagger_LunarLander-v3_...
  the course's own files:
    python scripts/run_hw1.py --env_name Ant-v4 --exp_name bc_ant --n_iter 1 \\
      --expert_policy_file Ant.pkl --expert_data expert_data_Ant-v4.pkl --video_log_freq -1
"""


def main() -> None:
    """Parses the flags and runs."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    help = "go on with the run in this folder, with its own settings (--num_workers alone may be given with it)"
    parser.add_argument("--resume", type=Path, metavar="RUN_FOLDER", help=help)
    add_arguments(parser, RunConfig)
    args = parser.parse_args()
    if args.resume:
        given = [f"--{k}" for k, v in vars(args).items() if v != parser.get_default(k) and k not in RESUMING]
        if given:
            raise InputError(f"--resume goes on with the run's own settings; drop {', '.join(given)}")
    config = from_arguments(RunConfig, args)

    from rl_il.runs.experiment import resume, run
    from rl_il.runs.provenance import command_line

    if args.resume:
        resume(args.resume, args.num_workers)
    else:
        run(config, command_line())


if __name__ == "__main__":
    run_command(main)
