"""Compare behavioural cloning from 1 and from 10 demonstrations with DAgger from 1: a table, a figure and GIFs."""

from rl_il.config import RunConfig
from rl_il.errors import go_on_without_output, run_command
from rl_il.files import data_folder
from rl_il.flags import add_fields
from rl_il.options import CommandParser, path, positive_integer

EXAMPLES = """examples:
  one seed, in under two minutes (make demo):
    python scripts/demo.py
  the table of 5 seeds in data/results (make study):
    python scripts/demo.py --seeds 5 --out data/results/new
"""


def main() -> None:
    """Parse the flags and run the comparison."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--env_name", "-env", default="LunarLander-v3", help="environment (default: %(default)s)")
    add("--seeds", type=positive_integer, default=1, help="number of seeds: 1, 2, ... (default: %(default)s)")
    n = {"type": positive_integer}
    add("--n_iter", "-n", **n, default=11, help="iterations; the first is behavioural cloning (default: %(default)s)")
    add("--train_steps", **n, default=1000, help="gradient steps in each iteration (default: %(default)s)")
    add("--eval_episodes", **n, default=100, help="episodes in each evaluation (default: %(default)s)")
    add_fields(parser, "num_workers")
    add(
        "--out",
        type=path,
        default=data_folder() / "demo",
        help="the new folder; numbered if it exists (default: demo in ./data or $RL_IL_DATA)",
    )
    args = parser.parse_args()
    config = RunConfig(
        env_name=args.env_name,
        do_dagger=True,
        n_iter=args.n_iter,
        num_agent_train_steps_per_iter=args.train_steps,
        eval_episodes=args.eval_episodes,
        num_workers=args.num_workers,
        video_log_freq=-1,
        compile="off",  # the demo does not wait for a compiler
    )

    from rl_il.studies.demo import run_demo

    go_on_without_output()
    run_demo(config, range(1, args.seeds + 1), args.out)


if __name__ == "__main__":
    run_command(main)
