"""Make the table of all environments: the expert, behavioural cloning and DAgger."""

import sys

from rl_il.errors import run_command
from rl_il.files import data_folder
from rl_il.options import CommandParser, path, positive_integer, worker_count

EXAMPLES = """examples:
  the whole table (make results; if it was stopped, the same command continues):
    python scripts/results.py
  a small table of two environments:
    python scripts/results.py --env_names Hopper-v5 LunarLander-v3 --seeds 1 --table /tmp/table.md
"""


def main() -> None:
    """Parse the flags, make the missing runs, and write the table."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    results = data_folder() / "results"
    add(
        "--env_names",
        nargs="+",
        metavar="NAME",
        help="the environments (default: all of the committed table)",
    )
    add("--seeds", type=positive_integer, default=5, help="runs of each environment (default: %(default)s)")
    add(
        "--outdir",
        type=path,
        default=results / "all_runs",
        help="the runs' folder (default: results/all_runs in ./data or $RL_IL_DATA)",
    )
    help = "file of the table (default: results/all.md in ./data or $RL_IL_DATA)"
    add("--table", type=path, default=results / "all.md", help=help)
    add("--processes", type=worker_count, default="auto", help="runs at a time (default: auto, one for each core)")
    args = parser.parse_args()

    from rl_il.studies.results import ENVIRONMENTS, make_results

    names = args.env_names or ENVIRONMENTS
    sys.exit(0 if make_results(args.outdir, args.table, names, args.seeds, args.processes) else 1)


if __name__ == "__main__":
    run_command(main)
