"""Records demonstrations into an .npz file: rolls out an expert, or, with --human, lets you act by keys."""

import argparse
from pathlib import Path

from rl_il.config import add_rollout_arguments
from rl_il.errors import InputError, run_command
from rl_il.options import HelpFormatter, positive_integer

NOT_BY_HAND = ("table", "policy", "expert_activation", "num_workers")
EXAMPLES = """examples:
  the command that made the shipped file:
    python scripts/record_demos.py --env_name LunarLander-v3 --n_demos 100 --out data/demos/LunarLander-v3.npz
  only good episodes:
    python scripts/record_demos.py --env_name LunarLander-v3 --min_return 200 --out good.npz
  your own, in the browser (the address is printed), or in a window:
    python scripts/record_demos.py --env_name MountainCar-v0 --human --n_demos 5 --out mine.npz
    python scripts/record_demos.py --env_name MountainCar-v0 --human --local
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
    add("--human", action="store_true", help="you act, on a page in the browser")
    add("--local", action="store_true", help="with --human: in a window of this machine")
    add("--port", type=int, help="with --human: the page's port on 127.0.0.1; 0: any free one")
    add("--out", type=Path, help="the file, .npz (default: ENV_NAME.npz in the current folder)")
    args = parser.parse_args()

    given = [name for name, value in vars(args).items() if value != parser.get_default(name)]
    if args.human:
        record_by_hand(args, [name for name in given if name in NOT_BY_HAND])
        return
    if args.local or args.port is not None:
        raise InputError("--local and --port are for --human")

    from rl_il.evaluation import demos_table, record_demos
    from rl_il.report.tables import markdown

    if args.table:
        given.remove("table")
        if given:
            raise InputError(f"--table describes the shipped files alone; drop --{', --'.join(given)}")
        print(markdown(demos_table()))
        return
    out = file_of(args)
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
    print(f"{out}: {len(kept)} episodes, {sum(map(len, kept)):,} steps; {thrown_away} thrown away")
    print_returns(kept)


def file_of(args: argparse.Namespace) -> Path:
    """Where the demonstrations go."""
    return args.out or Path(f"{args.env_name.replace('/', '-')}.npz")


def record_by_hand(args: argparse.Namespace, wrong: list[str]) -> None:
    """Lets a person act; `wrong` flags are for experts."""
    if wrong:
        raise InputError(f"--human: you act yourself; drop --{', --'.join(wrong)}")

    from rl_il.teacher.settings import TeachConfig

    settings = {} if args.port is None else {"port": args.port}
    config = TeachConfig(
        env_name=args.env_name,
        ep_len=args.ep_len,
        mode="demonstrate",
        seed=args.seed,
        updates_per_step=0,
        eval_every=-1,
        **settings,
    )

    from rl_il.run_folder import command_line
    from rl_il.teacher.demos import record_human_demos

    out = file_of(args)
    kept = record_human_demos(config, out, args.n_demos, args.min_return, args.local, command_line())
    print(f"{out}: {len(kept)} episodes, {sum(map(len, kept)):,} steps")
    print_returns(kept)
    print(f"train on them: python scripts/run_hw1.py --env_name {args.env_name} --expert_data {out}")


def print_returns(kept: list) -> None:
    """Mean, least and greatest return."""
    returns = [trajectory.episode_return for trajectory in kept]
    print(f"return: mean {sum(returns) / len(returns):.1f}, min {min(returns):.1f}, max {max(returns):.1f}")


if __name__ == "__main__":
    run_command(main)
