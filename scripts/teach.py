"""Teach an agent yourself: watch it act in the browser, and hold a key to correct it. It learns at the same time."""

from rl_il.errors import InputError, go_on_without_output, run_command
from rl_il.options import CommandParser, add_arguments, from_arguments, path
from rl_il.teacher.settings import TeachConfig

RESUMING = ("resume", "episodes", "port", "open")

EXAMPLES = """examples:
  teach MountainCar in the browser (the address is printed):
    python scripts/teach.py --env_name MountainCar-v0 --open
  drive yourself first; every step becomes a label:
    python scripts/teach.py --env_name CarRacing-v3 --mode demonstrate --key_values ArrowUp=0.3
  train also on steps that you do not correct, but draw them a fifth as often as yours:
    python scripts/teach.py --env_name LunarLander-v3 --labels weighted --approval_weight 0.2
  without a page: an expert presses the keys, and one key in ten is wrong:
    python scripts/teach.py --env_name LunarLander-v3 --teacher scripted:0.1 --episodes 60
  resume a session:
    python scripts/teach.py --resume data/teach_MountainCar-v0_...
"""


def main() -> None:
    """Parse the flags and run the session."""
    parser = CommandParser(__doc__, EXAMPLES)
    help = "continue the session in this folder with its settings; only --episodes, --port and --open are allowed"
    parser.add_argument("--resume", type=path, metavar="RUN_FOLDER", help=help)
    add_arguments(parser, TeachConfig)
    args = parser.parse_args()
    changed = {name: getattr(args, name) for name in parser.given(args)}
    if args.resume:
        given = [f"--{name}" for name in changed if name not in RESUMING]
        if given:
            raise InputError(f"--resume keeps the settings of the session; drop {', '.join(given)}")
    config = from_arguments(TeachConfig, args)

    from rl_il.runs.provenance import command_line
    from rl_il.teacher.run import settings_to_go_on, teach

    go_on_without_output()
    if args.resume:
        config = settings_to_go_on(args.resume, **{name: changed[name] for name in RESUMING[1:] if name in changed})
    teach(config, command_line(), args.resume)


if __name__ == "__main__":
    run_command(main)
