"""Check a file of demonstrations before you train a policy on it."""

import sys

from rl_il.config import READING
from rl_il.errors import run_command
from rl_il.flags import EXPERT, add_env_flags, add_fields
from rl_il.options import CommandParser, named_path

EXAMPLES = """examples:
  the shipped demonstrations, for the environment that the file names:
    python scripts/doctor.py data/demos/LunarLander-v3.npz
  the course's file, for another version of the environment:
    python scripts/doctor.py expert_data_Ant-v4.pkl --env_name Ant-v5
  compare the labels with an expert's actions, and print JSON:
    python scripts/doctor.py my_demos.npz --env_name LunarLander-v3 --expert my_expert.npz --json

An error makes the training fail or go wrong; a warning is something to look into. The exit status is 1 if there is an
error, 0 if there is none, and 2 if the file could not be examined.
"""


def main() -> None:
    """Parse the flags, examine the file, and print the findings."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "file",
        type=named_path,
        metavar="FILE",
        help="demonstrations: a file or folder of any format that run_hw1.py --expert_data reads",
    )
    add_env_flags(parser, otherwise="the one that the file names")
    add(
        "--expert",
        type=named_path,
        metavar="FILE",
        help="the expert who should have given the labels, as for --policy of evaluate.py (default: the one shipped)",
    )
    add_fields(parser, *EXPERT)
    add("--json", action="store_true", help="print one JSON object instead of text")
    add_fields(parser, *READING)
    args = parser.parse_args()

    from rl_il.datasets.content import ReadOptions
    from rl_il.files import to_json
    from rl_il.studies.doctor.examine import examine, to_dict, to_text

    options = ReadOptions(args.keys, args.obs_keys, args.split_every)
    flags = {"activation": args.expert_activation, "no_normalizer": args.no_normalizer}
    flags |= {"env_kwargs": args.env_kwargs, "wrappers": args.wrappers}
    report = examine(args.file, args.env_name, args.expert, options, **flags)
    print(to_json(to_dict(report)) if args.json else to_text(report))
    if report.count("error"):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
