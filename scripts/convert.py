"""Convert demonstrations into another format: any file or folder that training accepts, to npz, Minari or CSV."""

from rl_il.config import READING
from rl_il.errors import run_command
from rl_il.flags import add_env_flags, add_fields
from rl_il.options import CommandParser, path

EXAMPLES = """examples:
  the shipped file of LunarLander as a data set for Minari (needs pip install -e ".[hdf5]"):
    python scripts/convert.py data/demos/LunarLander-v3.npz LunarLander/expert-v0 --to minari
  a pickle with names of its own, for Hopper:
    python scripts/convert.py demos.pkl demos.npz --to npz --env_name Hopper-v5 --keys obs=joints,actions=torques
  what the learner did in an iteration of DAgger, for a spreadsheet:
    python scripts/convert.py data/q2_.../data/itr_1.npz itr_1.csv --to csv --actions executed
"""


def main() -> None:
    """Parse the flags, convert, and print what was written."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("source", metavar="IN", type=path, help="the file or folder to read")
    add("out", metavar="OUT", type=path, help="the file to write, or for Minari the folder, such as Lander/expert-v0")
    add("--to", required=True, metavar="FORMAT", help="the format to write: npz, minari or csv")
    add_env_flags(parser, otherwise="the one that the file names, if any")
    add(
        "--actions",
        choices=("labels", "executed"),
        default="labels",
        help="which actions of DAgger's data to write: labels, which a program that clones the expert needs, or"
        " executed, the ones that led to the next observation. A step without a label has its executed action",
    )
    add_fields(parser, *READING)
    args = parser.parse_args()

    from rl_il.datasets.content import ReadOptions
    from rl_il.datasets.writing import convert, summary

    options = ReadOptions(args.keys, args.obs_keys, args.split_every)
    env = {"env_kwargs": args.env_kwargs, "wrappers": args.wrappers}
    written = convert(args.source, args.out, args.to, args.env_name, options, args.actions, **env)
    print(f"{args.out}: {summary(written)}")


if __name__ == "__main__":
    run_command(main)
