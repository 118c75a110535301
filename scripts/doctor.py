"""Says what is odd about a file of demonstrations, before anything is trained on it."""

import argparse
import sys

from rl_il.errors import run_command
from rl_il.options import HelpFormatter

EXAMPLES = """examples:
  the shipped demonstrations; the environment is the one that the file names:
    python scripts/doctor.py data/demos/LunarLander-v3.npz
  the course's file, for another version of the environment:
    python scripts/doctor.py expert_data_Ant-v4.pkl --env_name Ant-v5
  compared with the expert that should have given the labels, for a program:
    python scripts/doctor.py my_demos.npz --env_name LunarLander-v3 --expert my_expert.npz --json

Errors are what training would fail on, or learn wrongly from; warnings are what to look at. The exit status is 1 if
there is an error, 0 if there is none, and 2 if the file could not be examined.
"""


def main() -> None:
    """Parse the flags, examine the file, print the findings."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("file", metavar="FILE", help="demonstrations: .npz, or the course's .pkl")
    add("--env_name", "-env", help="the environment they are for (default: the one that the file names)")
    add("--expert", metavar="FILE", help="whose labels they should be (default: the one shipped)")
    add("--json", action="store_true", help="print one JSON object instead of text")
    args = parser.parse_args()

    from rl_il.files import to_json
    from rl_il.studies.doctor.examine import examine, to_dict, to_text

    report = examine(args.file, args.env_name, args.expert)
    print(to_json(to_dict(report)) if args.json else to_text(report))
    if report.count("error"):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
