"""The main job: clone LunarLander's expert from 1 and 10 demonstrations, then DAgger from 1, and compare."""

import argparse
from pathlib import Path

from rl_il.config import RunConfig, add_workers_argument
from rl_il.errors import run_command
from rl_il.files import REPOSITORY
from rl_il.options import HelpFormatter, positive_integer

EXAMPLES = """examples:
  one seed, in under two minutes (make demo):
    python scripts/demo.py
  the README's table (make study):
    python scripts/demo.py --seeds 5 --out data/results/new
"""


def main() -> None:
    """Parse the flags and run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("--env_name", "-env", default="LunarLander-v3", help="environment (default: %(default)s)")
    add("--seeds", type=positive_integer, default=1, help="how many seeds, from 1 (default: %(default)s)")
    n = {"type": positive_integer}
    add("--n_iter", "-n", **n, default=11, help="iterations, the first cloning (default: %(default)s)")
    add("--train_steps", **n, default=1000, help="gradient steps an iteration (default: %(default)s)")
    add("--eval_episodes", **n, default=100, help="episodes an evaluation (default: %(default)s)")
    add_workers_argument(parser)
    add("--out", type=Path, default=REPOSITORY / "data" / "demo", help="a new folder (default: data/demo)")
    args = parser.parse_args()
    config = RunConfig(
        env_name=args.env_name,
        do_dagger=True,
        n_iter=args.n_iter,
        num_agent_train_steps_per_iter=args.train_steps,
        eval_episodes=args.eval_episodes,
        num_workers=args.num_workers,
        video_log_freq=-1,
    )

    from rl_il.studies.demo import run_demo

    run_demo(config, range(1, args.seeds + 1), args.out)


if __name__ == "__main__":
    run_command(main)
