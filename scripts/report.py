"""Make one page from run folders, with tables, curves, losses, videos and commands; or the course's three parts."""

from rl_il.errors import run_command
from rl_il.files import data_folder
from rl_il.options import CommandParser, path

EXAMPLES = """examples:
  all runs of make demo; the seeds of a variant share one row:
    python scripts/report.py data/demo
  the newest run:
    python scripts/report.py latest
  some runs, in a file that you name (report.md and report_figures/ are written next to it):
    python scripts/report.py data/q1_bc_... data/q2_dagger_... --out report.html --title "LunarLander, 5 seeds"
  the course's three parts, and submit.zip (the script prints which runs each part shows):
    python scripts/report.py --assignment data/q1_* data/q2_*
"""


def main() -> None:
    """Parse the flags, read the runs, and write the page."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "runs",
        metavar="RUN",
        nargs="+",
        type=path,
        help="a run folder, a folder with run folders below it, or latest: the newest run folder",
    )
    add("--assignment", action="store_true", help="the three parts of CS285's homework 1, and submit.zip")
    add(
        "--out",
        type=path,
        metavar="PATH.html",
        help="the page (default: report.html, or assignment.html, in a new folder report in ./data or $RL_IL_DATA)",
    )
    add("--title", help="the page's title")
    add("--no_random", action="store_true", help="do not measure the random policy")
    args = parser.parse_args()

    from rl_il.report.page import check_page_path
    from rl_il.report.runs import find_runs, unfinished_runs

    if args.out:
        check_page_path(args.out)
    runs = find_runs(args.runs)

    from rl_il.report.writing import write_report

    default = data_folder() / "report"
    unfinished = unfinished_runs(args.runs) if args.assignment else []
    settings = (args.out, default, args.title, not args.no_random, args.assignment, unfinished)
    print(write_report(runs, *settings), flush=True)


if __name__ == "__main__":
    run_command(main)
