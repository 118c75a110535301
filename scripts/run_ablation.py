"""Runs a grid of settings, several seeds each; makes the table, the figure and a CSV of them."""

import argparse
import re
import sys
from pathlib import Path

from rl_il.config import RunConfig
from rl_il.errors import InputError, run_command
from rl_il.files import REPOSITORY
from rl_il.options import HelpFormatter, add_arguments, from_arguments, positive_integer, worker_count

EXAMPLES = """examples:
  how many training steps, 5 seeds (one training a seed, evaluated at each length):
    python scripts/run_ablation.py --env_name LunarLander-v3 --param num_agent_train_steps_per_iter \\
      --values 500 1000 5000 10000 --seeds 5
  a grid of two settings:
    python scripts/run_ablation.py --param n_demos --values 1 5 20 --param size --values 16 64 256
  DAgger's batch size:
    python scripts/run_ablation.py --do_dagger --n_iter 6 --n_demos 1 --param batch_size --values 500 1000 2000
  on two machines without a scheduler, the second with --shard 2/2; then, with both folders in one, without it:
    python scripts/run_ablation.py --param learning_rate --values 1e-3 5e-3 --outdir data/lr --shard 1/2

A command that was stopped continues when it is given again. Every flag below except for the first few is one of
run_hw1.py's, and holds for all runs; --seed is the first of the seeds.
"""


def shard(text: str) -> tuple[int, int]:
    """Read `i/n`: an argparse type."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"must be i/n with i from 1 to n, such as 1/2, got {text!r}")
    return part, parts


def main() -> None:
    """Parse the flags, run what is missing, end with status 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("--param", action="append", metavar="NAME", default=[], help="a setting to vary: any of the flags below")
    add(
        "--values", action="append", nargs="+", default=[], metavar="VALUE", help="its values (true, false, none too)"
    )
    add("--seeds", type=positive_integer, default=5, help="runs of each variant (default: %(default)s)")
    add("--outdir", type=Path, help="where runs and results go (default: data/ablation_ENV_PARAM)")
    add("--launcher", choices=("local", "ray"), default="local", help="processes on this machine, or Ray tasks")
    add("--ray_address", help="of a Ray cluster, such as auto or ray://HOST:10001 (default: one on this machine)")
    add(
        "--processes",
        type=worker_count,
        default="auto",
        help="runs at a time, each with one thread (default: auto, as many as there are cores)",
    )
    add("--shard", type=shard, default=(1, 1), metavar="I/N", help="make only the Ith of N parts of the runs")
    add_arguments(parser, RunConfig, without=("logdir", "exp_name", "num_workers"))
    parser.set_defaults(eval_episodes=20, video_log_freq=-1)
    args = parser.parse_args()
    if args.ray_address and args.launcher != "ray":
        raise InputError("--ray_address is for --launcher ray; add that or drop this")

    from rl_il.studies.ablation.grid import Ablation, parse_params
    from rl_il.studies.ablation.sweep import run_ablation

    ablation = Ablation(from_arguments(RunConfig, args), parse_params(args.param, args.values), args.seeds)
    name = f"ablation_{args.env_name}_{'_'.join(ablation.params)}".replace("/", "-")
    outdir = args.outdir or REPOSITORY / "data" / name
    outcome = run_ablation(ablation, outdir, args.launcher, args.processes, args.ray_address, args.shard)
    sys.exit(1 if outcome.failures else 0)


if __name__ == "__main__":
    run_command(main)
