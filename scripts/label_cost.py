"""Measure what each label buys: the return against labels under the rules of DAgger, on several environments."""

import sys

from rl_il.errors import go_on_without_output, run_command
from rl_il.files import data_folder
from rl_il.options import CommandParser, path, positive_integer
from rl_il.studies.flags import add_launch_flags, launcher_of

EXAMPLES = """examples:
  the committed results (make labels; about 2.5 hours on 2 cores; if it was stopped, the same command continues):
    python scripts/label_cost.py
  four rules on two environments, in 3 minutes:
    python scripts/label_cost.py --quick
  a rule of your own module my_rule, and a shipped one with another setting, against labels of random states:
    python scripts/label_cost.py --rules vanilla random_25 my_rule:Mine 'hg labels_per_iter=10' \\
      --env_names LunarLander-v3 --outdir data/my_rule
  on two machines (the other one with --shard 2/2); then merge the folders, and give the command without --shard:
    python scripts/label_cost.py --outdir data/labels_shared --shard 1/2
  settings are chosen on other seeds than those of the table:
    python scripts/label_cost.py --rules vanilla hg_kcentre_25 --first_seed 1001 --outdir data/labels_tried

Each of --rules is a name in the committed table, or the name of a rule (rl-il list rules explains them), or
module:Name of your own. Settings of run_hw1.py may follow, as SETTING=VALUE.
"""


def main() -> None:
    """Parse the flags, make the missing runs, and write the results; exit with status 1 if a run failed."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--rules", nargs="+", metavar="NAME", help="what is compared (default: all of the committed table)")
    add("--env_names", nargs="+", metavar="NAME", help="environments (default: the five of the committed table)")
    help = "runs of each (default: 3, and 5 of vanilla, of random states, of the one setting for all environments"
    help += " and of the best two others; 2 with --quick)"
    add("--seeds", type=positive_integer, help=help)
    add("--first_seed", type=int, default=1, help="the first seed (default: %(default)s)")
    add("--quick", action="store_true", help="4 rules on 2 environments, unless others are given, and 2 seeds")
    help = "folder of runs and results (default: results/labels in ./data or $RL_IL_DATA; labels_quick there with"
    help += " --quick, and labels if rules, environments or seeds are chosen)"
    add("--outdir", type=path, help=help)
    add_launch_flags(parser)
    args = parser.parse_args()
    launcher = launcher_of(args)
    chosen = args.rules or args.env_names or args.seeds or args.first_seed != 1
    outdir = args.outdir or data_folder() / (
        "labels_quick" if args.quick else "labels" if chosen else "results/labels"
    )

    from rl_il.studies.label_cost.study import run_label_cost, study_of

    study = study_of(args.rules, args.env_names, args.seeds, args.first_seed, args.quick)
    go_on_without_output()
    sys.exit(0 if run_label_cost(study, outdir, launcher) else 1)


if __name__ == "__main__":
    run_command(main)
