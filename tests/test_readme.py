"""The README files say what is true: their Python runs, commands are accepted, links and numbers exist."""

import ast
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path

import pytest
from test_layers import REPOSITORY, SCRIPTS

README = (REPOSITORY / "README.md").read_text()
PAGES = [REPOSITORY / "README.md"]
PAGES += [
    path
    for room in ("data", "experts", "rl_il", "scripts", "tests")
    for path in (REPOSITORY / room).rglob("README.md")
]
TEXT = "\n".join(path.read_text() for path in PAGES)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
MARKS = {text: [pytest.mark.sb3] for text in PYTHON if "stable_baselines3" in text}
OWN = {found[1]: text for text in PYTHON if (found := re.match(r"# (my_\w+\.py)\n", text))}
"""The files that a reader writes into the working folder, by their names."""
SHELL = "".join(text for language, text in BLOCKS if language == "bash").replace("\\\n", " ").splitlines()
COMMANDS = [*dict.fromkeys(line for line in SHELL if line.startswith("python scripts/"))]
HEAVY = """
    runs.experiment.run runs.experiment.resume runs.evaluate.evaluate runs.evaluate.evaluate_experts
    runs.evaluate.record_demos datasets.writing.convert
    teacher.run.teach teacher.run.settings_to_go_on teacher.run.record_human_demos
    studies.ablation.sweep.run_ablation report.runs.find_runs studies.diagnosis.diagnose.diagnose
    studies.doctor.examine.examine studies.demo.run_demo studies.results.make_results studies.pixels.run_pixels
    studies.heads.study_pusht studies.heads.study_bird
    studies.label_cost.study.run_label_cost finetuning.export.export finetuning.experiment.of_its_run
    studies.finetune.run_finetuning
""".split()


def examples_of(script: Path) -> list[str]:
    """Return the commands in a script's help text."""
    text = ast.get_docstring(ast.parse(script.read_text())) + script.read_text()
    text = text.replace("\\\\\n", " ")  # a continued line, as the source spells it
    commands = re.findall(r"^ +(python scripts/.*?)(?: {2,}\(.*\))?$", text, re.MULTILINE)
    return list(dict.fromkeys(commands))


EXAMPLES = [command for script in SCRIPTS for command in examples_of(script)]


def is_accepted(monkeypatch, command: str) -> bool:
    """Return whether the script gets as far as its work with these flags."""
    _, script, *args = shlex.split(command, comments=True)

    reached = []

    def work(*args, **kwargs):  # the flags were understood; what they ask for is not done here
        reached.append(args)
        sys.exit()

    if Path(script).stem in ("run_pusht", "train_expert", "benchmark", "chaos", "soak"):
        parse = ArgumentParser.parse_args
        monkeypatch.setattr(ArgumentParser, "parse_args", lambda parser: parse(parser) and work())
    for function in HEAVY:
        monkeypatch.setattr(f"rl_il.{function}", work)
    monkeypatch.setattr(sys, "argv", [script, *args])
    monkeypatch.syspath_prepend((REPOSITORY / script).parent)  # as Python does for a script
    with suppress(SystemExit):
        runpy.run_path(str(REPOSITORY / script), run_name="__main__")
    return bool(reached)


def test_there_is_something_to_test():
    assert len(PYTHON) >= 1
    assert len(COMMANDS) >= 5
    assert {Path(shlex.split(command)[1]).name for command in EXAMPLES} == {path.name for path in SCRIPTS}


@pytest.mark.parametrize(
    "code", [pytest.param(text, id=str(i), marks=MARKS.get(text, ())) for i, text in enumerate(PYTHON)]
)
def test_python_runs_as_written(tmp_path, monkeypatch, code):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for shipped in ("data/demos", "experts"):  # read where the repository's root is the working folder
        shutil.copytree(REPOSITORY / shipped, tmp_path / shipped)
    for name, text in OWN.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "block.py").write_text(code.replace("total_timesteps=100_000", "total_timesteps=1"))
    done = subprocess.run([sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS + EXAMPLES)
def test_the_commands_of_readme_and_help_are_accepted(monkeypatch, command):
    assert is_accepted(monkeypatch, command)


@pytest.mark.parametrize("command", ["run_hw1.py --no_such_flag 1", "run_hw1.py --n_iter 11", "train_expert.py --no"])
def test_a_wrong_command_would_be_noticed(monkeypatch, command):
    assert not is_accepted(monkeypatch, f"python scripts/{command}")


def test_every_make_target_that_is_named_exists():
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`make ([\w-]+)`", TEXT) + [line.split()[1] for line in SHELL if line.startswith("make ")]
    assert {"demo", "test", "setup"} <= {*named} <= {*targets}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.parent.relative_to(REPOSITORY)))
def test_every_local_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_file_that_the_front_page_names_exists():
    named = re.findall(r"`((?:rl_il|scripts|data|experts|tests)/[\w/.-]*\w)`", README)
    assert len(named) > 8
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


def test_the_examples_of_the_front_page_are_short():
    front = [code for code in OWN.values() if code in README]
    assert len(front) == 4
    assert all(len([line for line in code.splitlines() if line.strip()]) <= 20 for code in front)


def test_the_front_page_is_short():
    assert len(README.encode()) <= 15_000 and README.count("\n") <= 300


def cells(row: str) -> list[str]:
    """Return the cells of a table's row."""
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_its_results_are_those_of_the_committed_table():
    table = (REPOSITORY / "data" / "results" / "LunarLander-v3" / "table.md").read_text().splitlines()
    header, _, *shown = README[README.index("| policy |") :].split("\n\n")[0].splitlines()
    assert len(shown) > 4
    committed = [cells(row) for row in table]
    assert [row for row in (header, *shown) if cells(row) not in committed] == []
