"""Compare PPO from a clone, with and without protection of the clone, with PPO from nothing."""

import sys

from rl_il.errors import go_on_without_output, run_command
from rl_il.files import data_folder
from rl_il.options import CommandParser, path, positive_integer
from rl_il.studies.flags import add_launch_flags, launcher_of

EXAMPLES = """examples:
  the committed results (make finetune; 40 minutes on 2 cores; if it was stopped, the same command continues):
    python scripts/finetune_study.py
  one environment, one seed, elsewhere:
    python scripts/finetune_study.py --env_names LunarLander-v3 --seeds 1 --outdir data/finetune_tried
"""
ENVIRONMENTS = ("LunarLander-v3", "Hopper-v5")


def main() -> None:
    """Parse the flags, make the missing runs, and write the results; exit with status 1 if a run failed."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    help = "environments (default: both)"
    add("--env_names", nargs="+", choices=ENVIRONMENTS, default=ENVIRONMENTS, help=help)
    add("--seeds", type=positive_integer, default=3, help="runs of each variant (default: %(default)s)")
    add("--first_seed", type=int, default=1, help="the first seed (default: %(default)s)")
    help = "folder of runs and results (default: results/finetune in ./data or $RL_IL_DATA, or finetune there if"
    help += " environments or seeds are chosen)"
    add("--outdir", type=path, help=help)
    add_launch_flags(parser)
    args = parser.parse_args()
    launcher = launcher_of(args)
    committed = tuple(args.env_names) == ENVIRONMENTS and (args.first_seed, args.seeds) == (1, 3)
    outdir = args.outdir or data_folder() / ("results/finetune" if committed else "finetune")

    from rl_il.studies.finetune import TASKS, run_finetuning

    go_on_without_output()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    sys.exit(0 if run_finetuning([TASKS[name] for name in args.env_names], outdir, seeds, launcher) else 1)


if __name__ == "__main__":
    run_command(main)
