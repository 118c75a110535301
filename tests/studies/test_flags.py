"""The flags that say where and how many runs are made."""

from rl_il.options import CommandParser
from rl_il.studies.ablation.launch import Launcher
from rl_il.studies.flags import add_launch_flags, launcher_of


def launcher(text: str) -> Launcher:
    parser = CommandParser("Make runs.", "")
    add_launch_flags(parser)
    return launcher_of(parser.parse_args(text.split()))


def test_each_flag_is_a_part_of_the_launcher():
    assert launcher("--processes 3") == Launcher(kind="local", processes=3)
    ray = "--launcher ray --processes 4 --ray_address auto --shard 2/3"
    assert launcher(ray) == Launcher(kind="ray", processes=4, ray_address="auto", shard=(2, 3))
