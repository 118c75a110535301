"""Behavioural cloning and DAgger, with the course's flags (CS285 homework 1, 2022 and 2023)."""

import argparse

from rl_il.config import HelpFormatter, RunConfig, add_arguments, from_arguments
from rl_il.errors import run_command

EXAMPLES = """examples:
  clone the shipped LunarLander expert:
    python scripts/run_hw1.py --env_name LunarLander-v3 --eval_episodes 20
  from one demonstration, then DAgger for ten iterations:
    python scripts/run_hw1.py --env_name LunarLander-v3 --n_demos 1 --do_dagger --n_iter 11
  the course's own files:
    python scripts/run_hw1.py --env_name Ant-v4 --exp_name bc_ant --n_iter 1 \\
      --expert_policy_file Ant.pkl --expert_data expert_data_Ant-v4.pkl --video_log_freq -1
"""


def main() -> None:
    """Parses the flags and runs."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add_arguments(parser, RunConfig)
    config = from_arguments(RunConfig, parser.parse_args())

    from rl_il.experiment import command_line, run

    run(config, command_line())


if __name__ == "__main__":
    run_command(main)
