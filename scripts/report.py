"""One page from run folders: tables, learning curves, losses, videos, commands; or the course's three parts."""

import argparse
from pathlib import Path

from rl_il.errors import run_command
from rl_il.files import REPOSITORY
from rl_il.options import HelpFormatter

EXAMPLES = """examples:
  everything that make demo ran, seeds put together:
    python scripts/report.py data/demo
  some runs, to a file of your own (report.md and report_figures/ go next to it):
    python scripts/report.py data/q1_bc_... data/q2_dagger_... --out report.html --title "LunarLander, 5 seeds"
  the course's three parts, and submit.zip:
    python scripts/report.py --assignment data/q1_* data/q2_*
"""


def main() -> None:
    """Parse the flags, read the runs, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", type=Path, help="a run folder, or a folder with run folders below it")
    add("--assignment", action="store_true", help="the three parts of CS285's homework 1, and submit.zip")
    add(
        "--out",
        type=Path,
        metavar="PATH.html",
        help="the page (default: report.html, or assignment.html, in a new folder data/report)",
    )
    add("--title", help="the page's title")
    add("--no_random", action="store_true", help="leave out the random policy, which is measured here")
    args = parser.parse_args()

    from rl_il.report.page import check_page_path
    from rl_il.report.runs import find_runs

    if args.out:
        check_page_path(args.out)
    runs = find_runs(args.runs)

    from rl_il.report.writing import write_report

    default = REPOSITORY / "data" / "report"
    print(write_report(runs, args.out, default, args.title, not args.no_random, args.assignment), flush=True)


if __name__ == "__main__":
    run_command(main)
