"""Behavioural cloning and DAgger, with the flags of CS285's homework 1 (2022 and 2023)."""

import sys

from rl_il.config import RunConfig
from rl_il.errors import InputError, go_on_without_output, run_command
from rl_il.notes import flags_without_effect
from rl_il.options import CommandParser, add_arguments, from_arguments, path

RESUMING = ("resume", "accept_changes", "num_workers", "torch_threads")

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
    help = "continue the run in this folder (latest: the newest) with its own settings, except --num_workers"
    parser.add_argument("--resume", type=path, metavar="RUN_FOLDER", help=help)
    help = "with --resume: continue although settings in config.json or files that the run reads were changed"
    parser.add_argument("--accept_changes", action="store_true", help=help)
    add_arguments(parser, RunConfig)
    args = parser.parse_args()
    given = parser.given(args)
    if args.resume and (others := [f"--{name}" for name in given if name not in RESUMING]):
        raise InputError(f"--resume continues a run with its own settings; drop {', '.join(others)}")
    if args.accept_changes and not args.resume:
        raise InputError("--accept_changes has no effect without --resume; add it, or drop --accept_changes")
    config = from_arguments(RunConfig, args)
    for note in [] if args.resume else flags_without_effect(config):
        print(f"note: {note}", file=sys.stderr)

    from rl_il.runs.experiment import resume, run
    from rl_il.runs.provenance import command_line

    go_on_without_output()
    if args.resume:
        threads = args.torch_threads if "torch_threads" in given else None
        resume(args.resume, args.num_workers, torch_threads=threads, accept_changes=args.accept_changes)
    else:
        run(config, command_line())


if __name__ == "__main__":
    run_command(main)
