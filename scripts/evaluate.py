"""Measures a policy: mean, spread, IQM and 95 % interval of its return over whole, fresh episodes."""

import argparse

from rl_il.config import HelpFormatter, positive_integer
from rl_il.errors import run_command

EXAMPLES = """examples:
  the shipped expert, the random policy, a finished run's latest policy:
    python scripts/evaluate.py --policy expert --env_name LunarLander-v3 --episodes 100
    python scripts/evaluate.py --policy random --env_name LunarLander-v3 --json
    python scripts/evaluate.py --policy data/q1_bc_LunarLander-v3_... --env_name LunarLander-v3 --video lander.gif
  the table of experts/README.md:
    python scripts/evaluate.py --all_experts --episodes 100
"""


def main() -> None:
    """Parses the flags, rolls out, prints a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add = parser.add_argument
    add(
        "--policy",
        default="expert",
        help="expert, random, a scripted rule, a .npz, .pt or course .pkl file, or a run folder"
        " (default: %(default)s)",
    )
    add("--env_name", "-env", default="LunarLander-v3", help="environment (default: %(default)s)")
    add("--episodes", type=positive_integer, default=100, help="whole episodes (default: %(default)s)")
    add("--seed", type=int, default=0, help="root of the episodes' seeds (default: %(default)s)")
    add("--ep_len", type=positive_integer, help="longest episode in steps (default: the environment's own limit)")
    add("--num_workers", type=positive_integer, default=1, help="processes; the result does not depend on it")
    add(
        "--video",
        metavar="PATH",
        help="also write an episode's first 300 frames as .gif, or .mp4 with imageio-ffmpeg",
    )
    add("--json", action="store_true", help="print one JSON object instead of the table")
    add("--all_experts", action="store_true", help="measure every shipped expert; prints a Markdown table")
    args = parser.parse_args()

    from rl_il.evaluation import evaluate, expert_table
    from rl_il.files import to_json
    from rl_il.report import markdown

    if args.all_experts:
        print(markdown(expert_table(args.episodes, args.seed, args.num_workers)))
        return
    result = evaluate(args.policy, args.env_name, args.episodes, args.seed, args.ep_len, args.num_workers, args.video)
    if args.json:
        print(to_json(result))
        return
    for name, value in result.items():
        print(f"{name:<20} {value:.2f}" if isinstance(value, float) else f"{name:<20} {value}")


if __name__ == "__main__":
    run_command(main)
