"""Records demonstrations: rolls out an expert, each episode with its own seed, into an .npz file."""

import argparse
from pathlib import Path

from rl_il.config import HelpFormatter, add_rollout_arguments, positive_integer
from rl_il.errors import InputError, run_command

EXAMPLES = """examples:
  the command that made the shipped file:
    python scripts/record_demos.py --env_name LunarLander-v3 --n_demos 100 --out data/demos/LunarLander-v3.npz
  only good episodes:
    python scripts/record_demos.py --env_name LunarLander-v3 --min_return 200 --out good.npz
  a policy of your own as the expert:
    python scripts/record_demos.py --env_name LunarLander-v3 --policy data/q2_... --out my_demos.npz
"""


def main() -> None:
    """Parses the flags, records, prints what was kept."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add_rollout_arguments(parser)
    add = parser.add_argument
    add("--n_demos", type=positive_integer, default=10, help="episodes to keep (default: %(default)s)")
    add("--min_return", type=float, default=float("-inf"), help="throw away episodes below this return")
    add("--table", action="store_true", help="record nothing: print data/README.md's table of the shipped files")
    add("--out", type=Path, help="the file, .npz (default: ENV_NAME.npz in the current folder)")
    args = parser.parse_args()

    from rl_il.evaluation import demos_table, record_demos
    from rl_il.report.tables import markdown

    if args.table:
        given = [name for name, value in vars(args).items() if name != "table" and value != parser.get_default(name)]
        if given:
            raise InputError(f"--table describes the shipped files alone; drop --{', --'.join(given)}")
        print(markdown(demos_table()))
        return
    out = args.out or Path(f"{args.env_name.replace('/', '-')}.npz")
    kept, thrown_away = record_demos(
        args.env_name,
        out,
        args.policy,
        args.n_demos,
        args.min_return,
        seed=args.seed,
        ep_len=args.ep_len,
        num_workers=args.num_workers,
        activation=args.expert_activation,
    )
    returns = [trajectory.episode_return for trajectory in kept]
    print(f"{out}: {len(kept)} episodes, {sum(map(len, kept)):,} steps; {thrown_away} thrown away")
    print(f"return: mean {sum(returns) / len(returns):.1f}, min {min(returns):.1f}, max {max(returns):.1f}")


if __name__ == "__main__":
    run_command(main)
