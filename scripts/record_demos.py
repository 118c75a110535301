"""Record demonstrations in a file. An expert acts or, with --human, you act with keys."""

import argparse
from pathlib import Path

from rl_il.commands import command_text
from rl_il.config import ENV, RunConfig
from rl_il.errors import InputError, run_command
from rl_il.files import safe_name
from rl_il.flags import add_rollout_flags
from rl_il.options import CommandParser, path, positive_integer

NOT_BY_HAND = {"table", "policy", "expert_activation", "no_normalizer", "num_workers"}
EXAMPLES = """examples:
  the command that made the included file of LunarLander:
    python scripts/record_demos.py --env_name LunarLander-v3 --n_demos 100 --out data/demos/LunarLander-v3.npz
  only good episodes:
    python scripts/record_demos.py --env_name LunarLander-v3 --min_return 200 --out good.npz
  your own, in the browser (the address is printed):
    python scripts/record_demos.py --env_name MountainCar-v0 --human --n_demos 5 --out mine.npz
  your own policy as the expert:
    python scripts/record_demos.py --env_name LunarLander-v3 --policy data/q2_... --out my_demos.npz
  a data set for Minari (needs pip install -e ".[hdf5]"):
    python scripts/record_demos.py --env_name LunarLander-v3 --to minari --out LunarLander/expert-v0
"""


def main() -> None:
    """Parse the flags, record, and print what was kept."""
    parser = CommandParser(__doc__, EXAMPLES)
    add_rollout_flags(parser)
    add = parser.add_argument
    add("--n_demos", type=positive_integer, default=10, help="number of episodes to keep")
    add(
        "--min_return",
        type=float,
        default=float("-inf"),
        help="keep only episodes with at least this return (default: all)",
    )
    add("--table", action="store_true", help="only print the table of the included files in data/README.md")
    add("--human", action="store_true", help="act yourself, on a page in the browser")
    add("--port", type=int, help="with --human: the port of the page on 127.0.0.1, or 0 for any free port")
    add("--to", default="npz", metavar="FORMAT", help="the format to write: npz, minari or csv")
    add("--out", type=path, help="what to write (default: ENV_NAME.npz or ENV_NAME.csv in the current folder)")
    args = parser.parse_args()
    if args.to == "minari" and args.out is None:
        raise InputError("--to minari needs --out FOLDER, such as LunarLander/expert-v0")
    out = args.out or Path(safe_name(f"{args.env_name}.{args.to}"))
    given = {name for name, value in vars(args).items() if value != parser.get_default(name)}
    if args.human:
        refuse(given & NOT_BY_HAND, "--human lets you act yourself")
        kept, thrown_away = record_by_hand(args, out)
    elif args.table:
        from rl_il.report.tables import markdown
        from rl_il.runs.evaluate import demos_table

        refuse(given - {"table"}, "--table only describes the included files")
        print(markdown(demos_table()))
        return
    else:
        refuse(given & {"port"}, "--port has an effect only with --human")
        kept, thrown_away = record_expert(args, out)
    episodes = "1 episode" if len(kept) == 1 else f"{len(kept)} episodes"
    print(f"{out}: {episodes}, {sum(map(len, kept)):,} steps{thrown_away}")
    returns = [trajectory.episode_return for trajectory in kept]
    print(f"return: mean {sum(returns) / len(returns):.1f}, min {min(returns):.1f}, max {max(returns):.1f}")
    if args.human:
        env = RunConfig(**{name: getattr(args, name) for name in ENV}).env_flags
        print(f"train on them: {command_text('run_hw1')} {env} --expert_data {out}")


def refuse(flags: set[str], why: str) -> None:
    """Raise `InputError` if any of the flags was given."""
    if flags:
        raise InputError(f"{why}; drop --{', --'.join(sorted(flags))}")


def record_expert(args: argparse.Namespace, out: Path) -> tuple[list, str]:
    """Roll out the expert. Return the kept episodes, and a text that says how many were not kept."""
    from rl_il.runs.evaluate import record_demos

    rollout = {"seed": args.seed, "ep_len": args.ep_len, "num_workers": args.num_workers}
    rollout |= {"activation": args.expert_activation, "no_normalizer": args.no_normalizer, "to": args.to}
    rollout |= {"env_kwargs": args.env_kwargs, "wrappers": args.wrappers}
    kept, thrown_away = record_demos(args.env_name, out, args.policy, args.n_demos, args.min_return, **rollout)
    return kept, f"; {thrown_away} not kept"


def record_by_hand(args: argparse.Namespace, out: Path) -> tuple[list, str]:
    """Let a person act. Return the episodes, and an empty text."""
    from rl_il.runs.provenance import command_line
    from rl_il.teacher.run import record_human_demos
    from rl_il.teacher.settings import TeachConfig

    settings = {"mode": "demonstrate", "updates_per_step": 0, "eval_every": -1}
    settings |= {name: getattr(args, name) for name in (*ENV, "ep_len", "seed")}
    settings |= {} if args.port is None else {"port": args.port}
    kept = record_human_demos(TeachConfig(**settings), out, args.n_demos, args.min_return, command_line(), args.to)
    return kept, ""


if __name__ == "__main__":
    run_command(main)
