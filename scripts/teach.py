"""Teach an agent yourself: a page shows it act, your keys take over where it errs, and it learns while you play."""

import argparse
from pathlib import Path

from rl_il.errors import InputError, run_command
from rl_il.options import HelpFormatter, add_arguments, from_arguments
from rl_il.teacher.settings import TeachConfig

RESUMING = ("resume", "episodes", "port", "open")

EXAMPLES = """examples:
  teach MountainCar in the browser (the address is printed):
    python scripts/teach.py --env_name MountainCar-v0 --open
  drive yourself first, and let the agent learn from all that you do:
    python scripts/teach.py --env_name CarRacing-v3 --mode demonstrate --key_values ArrowUp=0.3
  its own steps that you let pass count a fifth:
    python scripts/teach.py --env_name LunarLander-v3 --labels weighted --approval_weight 0.2
  let the expert press the keys, a tenth of them wrong, without a page:
    python scripts/teach.py --env_name LunarLander-v3 --teacher scripted:0.1 --episodes 60
  go on with a session:
    python scripts/teach.py --resume data/teach_MountainCar-v0_...
"""


def main() -> None:
    """Parses the flags and teaches."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    help = "go on with the session in this folder, with its own settings (--episodes, --port and --open may be given)"
    parser.add_argument("--resume", type=Path, metavar="RUN_FOLDER", help=help)
    add_arguments(parser, TeachConfig)
    args = parser.parse_args()
    changed = {name: value for name, value in vars(args).items() if value != parser.get_default(name)}
    if args.resume:
        given = [f"--{name}" for name in changed if name not in RESUMING]
        if given:
            raise InputError(f"--resume goes on with the session's own settings; drop {', '.join(given)}")
    config = from_arguments(TeachConfig, args)

    from rl_il.runs.provenance import command_line
    from rl_il.teacher.run import settings_to_go_on, teach

    if args.resume:
        config = settings_to_go_on(args.resume, **{name: changed[name] for name in RESUMING[1:] if name in changed})
    teach(config, command_line(), args.resume)


if __name__ == "__main__":
    run_command(main)
