"""The README's results table: expert, behavioural cloning and DAgger on every environment with an expert to ask."""

import argparse
import sys
from pathlib import Path

from rl_il.errors import run_command
from rl_il.files import REPOSITORY
from rl_il.options import HelpFormatter, positive_integer, worker_count

EXAMPLES = """examples:
  the README's table (make results; the same command continues what was stopped):
    python scripts/results.py
  a quick look at two environments:
    python scripts/results.py --env_names Hopper-v5 LunarLander-v3 --seeds 1 --table /tmp/table.md
"""


def main() -> None:
    """Parse the flags, run what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add = parser.add_argument
    results = REPOSITORY / "data" / "results"
    add("--env_names", nargs="+", metavar="NAME", help="the rows (default: all)")
    add("--seeds", type=positive_integer, default=5, help="runs of each (default: %(default)s)")
    add("--outdir", type=Path, default=results / "all_runs", help="for the runs (default: data/results/all_runs)")
    add("--table", type=Path, default=results / "all.md", help="the table (default: data/results/all.md)")
    add("--processes", type=worker_count, default="auto", help="runs at a time (default: auto, one a core)")
    args = parser.parse_args()

    from rl_il.studies.results import ENVIRONMENTS, make_results

    names = args.env_names or ENVIRONMENTS
    sys.exit(0 if make_results(args.outdir, args.table, names, args.seeds, args.processes) else 1)


if __name__ == "__main__":
    run_command(main)
