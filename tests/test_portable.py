"""What keeps the package usable on Windows and macOS, as far as it can be checked on Linux."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from systems import WINDOWS

from rl_il.files import REPOSITORY, safe_name

SOURCES = sorted([*(REPOSITORY / "rl_il").rglob("*.py"), *(REPOSITORY / "scripts").rglob("*.py")])
AS_ON_WINDOWS = REPOSITORY / "tests" / "as_on_windows"
BINARY = {"os", "webbrowser", "zipfile", "archive", "gzip", "Image", "imageio"}  # their `open` needs no encoding
RUN = "--num_agent_train_steps_per_iter 5 --ep_len 20 --eval_episodes 2 --batch_size 20 --size 8 --n_demos 2"
COMMANDS = {
    "run_hw1": f"--env_name MountainCar-v0 --do_dagger --n_iter 3 --num_workers 2 {RUN}",
    "run_ablation": f"--env_name MountainCar-v0 --param size --values 4 8 --seeds 1 --processes 2 {RUN}",
}


@pytest.mark.parametrize("script", COMMANDS)
def test_a_command_works_without_what_windows_lacks(tmp_path, script):
    # `sitecustomize.py` in this folder says what is missing, and for whom.
    paths = os.pathsep.join(map(str, (AS_ON_WINDOWS, REPOSITORY)))
    command = [sys.executable, str(REPOSITORY / "scripts" / f"{script}.py"), *COMMANDS[script].split()]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert len([*tmp_path.rglob("summary.json")]) == (1 if script == "run_hw1" else 3)
    names = [path.name for path in tmp_path.rglob("*")]
    assert [name for name in names if safe_name(name) != name] == []


@pytest.mark.skipif(WINDOWS, reason="Windows lacks it for other files too")
@pytest.mark.parametrize(
    "line",
    [
        "import resource",
        "from fcntl import flock",
        "os.getuid()",
        "signal.SIGALRM",
        "from os import fork",
        "os.open('/', os.O_RDONLY)",
    ],
)
def test_it_would_be_noticed_if_our_files_used_it(tmp_path, line):
    (tmp_path / "as" / "on").mkdir(parents=True)
    (tmp_path / "as" / "on" / "sitecustomize.py").write_bytes((AS_ON_WINDOWS / "sitecustomize.py").read_bytes())
    for folder in ("rl_il", "others"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "code.py").write_text(f"import os, signal\n{line}\n", encoding="utf-8")
    paths = {"PYTHONPATH": str(tmp_path / "as" / "on")}
    status = {
        folder: subprocess.run(
            [sys.executable, tmp_path / folder / "code.py"], env=os.environ | paths, capture_output=True
        ).returncode
        for folder in ("rl_il", "others")
    }
    assert status == {"rl_il": 1, "others": 0}


# What the source says --------------------------------------------------------------------------------------


def faults(source: str) -> list[str]:
    """Return the lines that leave an encoding or the start method of processes to the system."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (_opens_text(node) or _starts_otherwise(node)):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Dict) and any(isinstance(k, ast.Constant) and k.value == "text" for k in node.keys):
            texts = [v for k, v in zip(node.keys, node.values, strict=True) if getattr(k, "value", "") == "text"]
            found += [ast.unparse(node) for value in texts if getattr(value, "value", None) is True]
    return found


def _opens_text(call: ast.Call) -> bool:
    """Return whether a call reads or writes text without `encoding`."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if getattr(given.get("text", given.get("universal_newlines")), "value", False) is True:
        return True  # of subprocess: `encoding` alone means text
    if name in ("read_text", "write_text"):
        return "encoding" not in given
    if name not in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
        return False
    if getattr(getattr(call.func, "value", None), "id", "") in BINARY and name == "open":
        return False
    texts = [arg.value for arg in [*call.args, given.get("mode")] if isinstance(arg, ast.Constant)]
    return "encoding" not in given and not any("b" in text for text in texts if text in MODES)


MODES = {kind + binary + plus for kind in "rwax" for binary in ("", "b") for plus in ("", "+")}


def _starts_otherwise(call: ast.Call) -> bool:
    """Return whether a call starts processes by another method than spawn."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    module = getattr(getattr(call.func, "value", None), "id", "")
    if name in ("get_context", "set_start_method"):
        return [getattr(arg, "value", None) for arg in call.args] != ["spawn"]
    if name == "ProcessPoolExecutor":
        return len(call.args) < 2 and "mp_context" not in {keyword.arg for keyword in call.keywords}
    return name in ("fork", "forkpty") or (
        module == "multiprocessing" and name in ("Process", "Pool", "Pipe", "Queue")
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_text_has_an_encoding_and_processes_are_spawned(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "path.open('a')",
        "path.open('w', newline='')",
        "path.read_text()",
        "Path('x').write_text(text)",
        "os.fdopen(descriptor, 'w')",
        "subprocess.run(command, text=True, check=True)",
        "pipes = {'text': True}",
        "multiprocessing.get_context('fork')",
        "multiprocessing.get_context(method)",
        "multiprocessing.Process(target=work)",
        "ProcessPoolExecutor(2)",
        "os.fork()",
    ],
)
def test_a_line_that_leaves_it_to_the_system_is_found(line):
    assert faults(line) == [line.removeprefix("pipes = ")]


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'rb')",
        "path.open('w', encoding='utf-8')",
        "os.fdopen(descriptor, 'wb')",
        "webbrowser.open(url)",
        "subprocess.run(command, encoding='utf-8')",
        "ProcessPoolExecutor(2, context)",
        "{'text': 'some'}",
    ],
)
def test_a_line_that_says_it_is_not(line):
    assert faults(line) == []


def test_there_are_sources():
    assert Path(REPOSITORY / "rl_il" / "files.py") in SOURCES and len(SOURCES) > 100
