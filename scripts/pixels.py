"""Driving from pictures: clones the scripted driver of CarRacing, then runs DAgger, and compares."""

import argparse
from pathlib import Path

from rl_il.errors import run_command
from rl_il.files import REPOSITORY
from rl_il.options import HelpFormatter, worker_count

EXAMPLES = """examples:
  the README's results (make pixels; under an hour on 2 cores):
    python scripts/pixels.py --out data/results/CarRacing-v3
  a first look, in under ten minutes:
    python scripts/pixels.py --quick
  to continue after a stop: the same command again
"""


def main() -> None:
    """Parse the flags and run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="5 laps, 3 rounds, 5 tracks an evaluation")
    add("--seed", type=int, default=1, help="of laps, training and tracks (default: %(default)s)")
    add(
        "--num_workers", type=worker_count, default="auto", metavar="INT", help="processes that drive (default: auto)"
    )
    add("--out", type=Path, help="the folder (default: data/pixels, or data/pixels_quick)")
    args = parser.parse_args()
    out = args.out or REPOSITORY / "data" / ("pixels_quick" if args.quick else "pixels")

    from rl_il.studies.pixels import DRIVING, LAPS, QUICK, QUICK_LAPS, run_pixels

    what = (QUICK_LAPS, QUICK) if args.quick else (LAPS, DRIVING)
    run_pixels(*what, out, args.seed, args.num_workers)


if __name__ == "__main__":
    run_command(main)
