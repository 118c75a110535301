"""Behavioural cloning and DAgger, with the flags of CS285's homework 1 (2022 and 2023)."""

import sys

from rl_il.config import RunConfig
from rl_il.errors import go_on_without_output, run_command
from rl_il.flags import add_resume_flags, resume_settings
from rl_il.notes import flags_without_effect
from rl_il.options import CommandParser, add_arguments, from_arguments

EXAMPLES = """examples:
  behavioural cloning of the included LunarLander expert:
    python scripts/run_hw1.py --env_name LunarLander-v3 --eval_episodes 20
  behavioural cloning of one demonstration, then ten iterations of DAgger:
    python scripts/run_hw1.py --env_name LunarLander-v3 --n_demos 1 --do_dagger --n_iter 11
  continue the newest run, or the run in a folder (the result is the same as without the stop):
    python scripts/run_hw1.py --resume latest
    python scripts/run_hw1.py --resume data/q2_dagger_LunarLander-v3_...
  with the course's own files:
    python scripts/run_hw1.py --env_name Ant-v4 --exp_name bc_ant --n_iter 1 \\
      --expert_policy_file Ant.pkl --expert_data expert_data_Ant-v4.pkl --video_log_freq -1
"""


def main() -> None:
    """Parse the flags, and start or resume the run."""
    parser = CommandParser(__doc__, EXAMPLES)
    add_resume_flags(parser)
    add_arguments(parser, RunConfig)
    args = parser.parse_args()
    given = parser.given(args)
    how = resume_settings(args, given)
    config = from_arguments(RunConfig, args)
    for note in [] if args.resume else flags_without_effect(config):
        print(f"note: {note}", file=sys.stderr)

    from rl_il.runs.experiment import resume, run
    from rl_il.runs.provenance import command_line

    go_on_without_output()
    if args.resume:
        resume(args.resume, **how)
    else:
        run(config, command_line())


if __name__ == "__main__":
    run_command(main)
