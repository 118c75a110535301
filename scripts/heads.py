"""Compare mse, mixture and flow where experts do not agree with themselves: on the bird, or on Push-T."""

import sys

from rl_il.errors import run_command
from rl_il.files import data_folder
from rl_il.options import CommandParser, path, positive_integer, worker_count

EXAMPLES = """examples:
  the bird, with one gap and with two (make bird; 5 minutes on 2 cores):
    python scripts/heads.py bird
  Push-T with the course's settings (make pusht; 20 minutes on 2 cores):
    python scripts/heads.py pusht
  one more row, of tuned settings (hours on 2 cores, 4 minutes a seed on a GPU):
    python scripts/heads.py pusht --tuned
  the same from demonstrations that are already here:
    python scripts/heads.py pusht --demos pusht.zip
  If the command was stopped, the same command continues.
"""


def main() -> None:
    """Parse the flags, make the missing runs, and write the table and the picture."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    results = data_folder() / "results" / "heads"
    add("study", choices=("bird", "pusht"), help="what is compared")
    help = "Push-T's demonstrations: a file, or the folder where they are found or downloaded to (default: ./data or"
    add("--demos", type=path, help=f"{help} $RL_IL_DATA)")
    add("--tuned", action="store_true", help="with pusht: train with the tuned settings too, and make a GIF")
    add("--seeds", type=positive_integer, default=3, help="runs of each policy (default: %(default)s)")
    help = "folder of table and picture (default: results/heads in ./data or $RL_IL_DATA)"
    add("--out", type=path, default=results, help=help)
    add("--outdir", type=path, help="the runs' folder (default: bird_runs or pusht_runs in --out)")
    add("--processes", type=worker_count, default="auto", help="runs at a time (default: auto, one for each core)")
    args = parser.parse_args()
    if args.study == "bird" and (args.tuned or args.demos):
        parser.error(f"{'--tuned' if args.tuned else '--demos'} has no effect on bird; drop it, or compare on pusht")
    runs = args.outdir or args.out / f"{args.study}_runs"

    from rl_il.studies.heads import TUNED, study_bird, study_pusht

    if args.study == "bird":
        ok = study_bird(args.out, runs, args.seeds, args.processes)
    else:
        tuned = TUNED if args.tuned else None
        ok = study_pusht(args.out, runs, args.demos or data_folder(), args.seeds, args.processes, tuned=tuned)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    run_command(main)
