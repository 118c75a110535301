"""Compare behavioural cloning from 1 to 20 laps with DAgger from 20, on the pictures of CarRacing."""

from rl_il.errors import go_on_without_output, run_command
from rl_il.files import data_folder
from rl_il.options import CommandParser, path, worker_count

EXAMPLES = """examples:
  the committed results (make pixels; under an hour on 2 cores):
    python scripts/pixels.py --out data/results/CarRacing-v3
  a small version, in less than ten minutes:
    python scripts/pixels.py --quick
  If the command was stopped, the same command continues.
"""


def main() -> None:
    """Parse the flags and run the experiment."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--quick", action="store_true", help="only 5 laps, 3 iterations of DAgger, and 5 tracks in each evaluation")
    add("--seed", type=int, default=1, help="seed of laps, training and tracks (default: %(default)s)")
    add(
        "--num_workers",
        type=worker_count,
        default="auto",
        metavar="INT",
        help="processes that drive (default: auto)",
    )
    help = "folder of laps, runs and results (default: pixels or pixels_quick in ./data or $RL_IL_DATA)"
    add("--out", type=path, help=help)
    args = parser.parse_args()
    out = args.out or data_folder() / ("pixels_quick" if args.quick else "pixels")

    from rl_il.studies.pixels import DRIVING, LAPS, QUICK, QUICK_LAPS, run_pixels

    what = (QUICK_LAPS, QUICK) if args.quick else (LAPS, DRIVING)
    go_on_without_output()
    run_pixels(*what, out, args.seed, args.num_workers)


if __name__ == "__main__":
    run_command(main)
