"""Evaluate a policy: mean, standard deviation, IQM and 95 % interval of its return or score over whole episodes."""

from rl_il.config import ENV
from rl_il.errors import InputError, run_command
from rl_il.flags import add_fields, add_rollout_flags
from rl_il.options import CommandParser, named_path, positive_integer

EXAMPLES = """examples:
  the included expert, the random policy, and the last policy of the newest run:
    python scripts/evaluate.py --policy expert --env_name LunarLander-v3 --episodes 100
    python scripts/evaluate.py --policy random --env_name LunarLander-v3 --json
    python scripts/evaluate.py --policy latest --video lander.gif
  the table of experts/README.md:
    python scripts/evaluate.py --all_experts --episodes 100 --markdown
"""


def main() -> None:
    """Parse the flags, roll out, and print a table or one JSON object."""
    parser = CommandParser(__doc__, EXAMPLES)
    add_rollout_flags(parser, otherwise="that of the run; LunarLander-v3 for expert and random")
    add = parser.add_argument
    add("--episodes", type=positive_integer, help="whole episodes (default: 100)")
    add_fields(parser, "eval_seeds")
    add(
        "--video",
        type=named_path,
        metavar="PATH",
        help="also record 300 frames of an episode: .gif, or .mp4 with imageio-ffmpeg",
    )
    add("--all_experts", action="store_true", help="evaluate every included expert in each of its environments")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON instead of text")
    output.add_argument("--markdown", action="store_true", help="print a Markdown table instead of text")
    args = parser.parse_args()

    from rl_il.files import to_json
    from rl_il.report.tables import markdown, plain
    from rl_il.runs.evaluate import EXPERT_COLUMNS, evaluate, evaluate_experts, expert_row, result_rows

    show = markdown if args.markdown else plain
    if args.all_experts:
        others = ("video", "ep_len", *ENV)
        if args.policy != "expert" or any(getattr(args, name) for name in others):
            flags = f"--policy, --{', --'.join(ENV)}, --ep_len and --video"
            raise InputError(f"--all_experts evaluates every included expert in its environments; drop {flags}")
        results = list(evaluate_experts(args.episodes, args.seed, args.num_workers, args.eval_seeds))
        print(to_json(results) if args.json else show([EXPERT_COLUMNS, *map(expert_row, results)]))
        return
    rollout = {"seed": args.seed, "ep_len": args.ep_len, "num_workers": args.num_workers}
    rollout |= {"video": args.video, "activation": args.expert_activation, "no_normalizer": args.no_normalizer}
    rollout |= {"env_kwargs": args.env_kwargs, "wrappers": args.wrappers, "eval_seeds": args.eval_seeds}
    result = evaluate(args.policy, args.env_name, args.episodes, **rollout)
    if args.json:
        print(to_json(result))
        return
    rows = result_rows(result)
    print(show([["", "value"], *rows] if args.markdown else rows))


if __name__ == "__main__":
    run_command(main)
