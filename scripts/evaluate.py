"""Measures a policy: mean, spread, IQM and 95 % interval of its return over whole, fresh episodes."""

import argparse

from rl_il.config import add_rollout_arguments
from rl_il.errors import InputError, run_command
from rl_il.options import HelpFormatter, positive_integer

EXAMPLES = """examples:
  the shipped expert, the random policy, a finished run's latest policy:
    python scripts/evaluate.py --policy expert --env_name LunarLander-v3 --episodes 100
    python scripts/evaluate.py --policy random --env_name LunarLander-v3 --json
    python scripts/evaluate.py --policy data/q1_bc_LunarLander-v3_... --env_name LunarLander-v3 --video lander.gif
  the table of experts/README.md:
    python scripts/evaluate.py --all_experts --episodes 100 --markdown
"""


def main() -> None:
    """Parse the flags, roll out, print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add_rollout_arguments(parser)
    add = parser.add_argument
    add("--episodes", type=positive_integer, default=100, help="whole episodes (default: %(default)s)")
    add("--video", metavar="PATH", help="also film an episode's first 300 frames: .gif, or .mp4 with imageio-ffmpeg")
    add("--all_experts", action="store_true", help="measure every shipped expert in each of its environments")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON instead of text")
    output.add_argument("--markdown", action="store_true", help="print a Markdown table instead of text")
    args = parser.parse_args()

    from rl_il.files import to_json
    from rl_il.report.tables import markdown, plain
    from rl_il.runs.evaluate import EXPERT_COLUMNS, evaluate, evaluate_experts, expert_row

    show = markdown if args.markdown else plain
    if args.all_experts:
        if args.video or args.ep_len or args.policy != "expert":
            raise InputError("--all_experts measures the shipped experts alone; drop --policy, --ep_len and --video")
        results = list(evaluate_experts(args.episodes, args.seed, args.num_workers))
        print(to_json(results) if args.json else show([EXPERT_COLUMNS, *map(expert_row, results)]))
        return
    rollout = {"seed": args.seed, "ep_len": args.ep_len, "num_workers": args.num_workers}
    rollout |= {"video": args.video, "activation": args.expert_activation}
    result = evaluate(args.policy, args.env_name, args.episodes, **rollout)
    if args.json:
        print(to_json(result))
        return
    texts = [[name, f"{value:.2f}" if isinstance(value, float) else str(value)] for name, value in result.items()]
    print(show([["", "value"], *texts] if args.markdown else texts))


if __name__ == "__main__":
    run_command(main)
