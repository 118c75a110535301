"""Run a grid of settings with several seeds each; write a table, a figure and a CSV file."""

import sys

from rl_il.config import RunConfig
from rl_il.errors import go_on_without_output, run_command
from rl_il.files import data_folder, safe_name
from rl_il.notes import flags_without_effect
from rl_il.options import CommandParser, add_arguments, from_arguments, path, positive_integer
from rl_il.studies.flags import add_launch_flags, launcher_of

EXAMPLES = """examples:
  the number of gradient steps, 5 seeds (one training for each seed, evaluated at each number):
    python scripts/run_ablation.py --env_name LunarLander-v3 --param num_agent_train_steps_per_iter \\
      --values 500 1000 5000 10000 --seeds 5
  a grid of two settings:
    python scripts/run_ablation.py --param n_demos --values 1 5 20 --param size --values 16 64 256
  DAgger's batch size:
    python scripts/run_ablation.py --do_dagger --n_iter 6 --n_demos 1 --param batch_size --values 500 1000 2000
  on two machines (the other one with --shard 2/2); then merge the folders, and give the command without --shard:
    python scripts/run_ablation.py --param learning_rate --values 1e-3 5e-3 --outdir data/lr --shard 1/2

If a command was stopped, the same command continues. In the list of flags above, those up to --shard belong to the
ablation. The others are flags of run_hw1.py and hold for all runs. --seed is the first of the seeds.
"""


def main() -> None:
    """Parse the flags and run the ablation; exit with status 1 if a run failed."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "--param",
        action="append",
        metavar="NAME",
        default=[],
        help="a setting to vary: a flag of run_hw1.py, but not seed, logdir, exp_name, num_workers",
    )
    add(
        "--values",
        action="append",
        nargs="+",
        default=[],
        metavar="VALUE",
        help="its values (also true, false, none)",
    )
    add("--seeds", type=positive_integer, default=5, help="runs of each variant (default: %(default)s)")
    add(
        "--outdir",
        type=path,
        help="folder of runs and results (default: ablation_ENV_PARAM in ./data or $RL_IL_DATA)",
    )
    add_launch_flags(parser)
    add_arguments(parser, RunConfig, without=("logdir", "exp_name", "num_workers", "eval_batch_size"))
    parser.set_defaults(eval_episodes=20, video_log_freq=-1)
    args = parser.parse_args()
    launcher = launcher_of(args)

    from rl_il.studies.ablation.grid import Ablation, parse_params
    from rl_il.studies.ablation.sweep import run_ablation

    ablation = Ablation(from_arguments(RunConfig, args), parse_params(args.param, args.values), args.seeds)
    for note in flags_without_effect(ablation.base):
        print(f"note: {note}", file=sys.stderr)
    name = safe_name(f"ablation_{args.env_name}_{'_'.join(ablation.params)}")
    outdir = args.outdir or data_folder() / name
    go_on_without_output()
    outcome = run_ablation(ablation, outdir, launcher)
    sys.exit(1 if outcome.failures else 0)


if __name__ == "__main__":
    run_command(main)
