"""The tutorial: it runs in a new kernel, and its file has the outputs of the code that is in it."""

import base64
import importlib.util
import json
import subprocess
import sys

import nbformat
import pytest
from tutorial import TUTORIAL, execute, text_of

MAX_BYTES = 300_000
NUMBERS = """
import json, os
means = {name: float(np.mean([run.returns[-1] for run in runs])) for name, runs in results.items()}
labels = {name: [run.blocks[-1].counts.expert_labels for run in runs] for name, runs in results.items()}
print(json.dumps([means, labels, float(expert_returns.mean()), os.environ["MPLBACKEND"], plt.get_backend()]))
"""


@pytest.fixture
def stored():
    return nbformat.read(TUTORIAL, as_version=4)


def outputs_of(notebook, kind: str) -> list[str]:
    """Return all outputs of this media type."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def test_it_runs_in_any_folder_and_shows_what_it_says(tmp_path):  # one test, since an execution takes half a minute
    notebook = execute(TUTORIAL, tmp_path, NUMBERS)
    means, labels, expert, variable, backend = json.loads(text_of(notebook).splitlines()[-1])
    one, ten, dagger = means.values()
    assert expert > 200
    assert min(ten, dagger) > max(one + 50, 0.8 * expert)
    assert 100 < max(labels["BC, 1 demonstration"]) < 300 < 1500 < min(labels["BC, 10 demonstrations"]) < 2500
    assert min(labels["DAgger, 1 demonstration"]) > 3000
    assert variable == backend == "module://matplotlib_inline.backend_inline"  # as for a user
    assert text_of(notebook, "stderr") == ""
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    assert_shows_pictures(notebook)


def assert_shows_pictures(notebook) -> None:
    """Assert that the notebook has its figures, GIFs and table, and is small."""
    pictures, clips = outputs_of(notebook, "image/png"), outputs_of(notebook, "image/gif")
    assert (len(pictures), len(clips), len(outputs_of(notebook, "text/markdown"))) == (4, 2, 1)
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert all(base64.b64decode(clip).startswith(b"GIF89a") for clip in clips)
    assert len(nbformat.writes(notebook)) < MAX_BYTES


def test_the_stored_outputs_are_whole_small_and_of_no_machine(stored):
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert_shows_pictures(stored)
    assert text_of(stored, "stderr") == ""
    text = TUTORIAL.read_text(encoding="utf-8")
    assert not [place for place in ("/home/", "/root/", "/tmp/", "C:") if place in text]


# The cell that installs the package ---------------------------------------------------------------------------


@pytest.fixture
def install(stored, monkeypatch):
    """Return a function that runs the first cell where the package is missing, and returns the commands it gave."""
    commands = []

    def run(folder):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
        exec(stored.cells[1].source, {})
        return commands

    return run


@pytest.mark.parametrize("place", ["scripts", ".", ".."])
def test_a_missing_package_is_installed_from_the_repository_near_the_notebook(tmp_path, install, place):
    repository = tmp_path / "any_name"
    for folder in ("rl_il", "scripts"):
        (repository / folder).mkdir(parents=True)
    (repository / "setup.py").touch()
    (command,) = install(repository / place)
    assert command == [sys.executable, "-m", "pip", "install", "--quiet", str(repository)]


def test_without_the_repository_it_says_where_to_put_it(tmp_path, install):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        install(tmp_path)


def test_an_installed_package_is_left_alone(stored, monkeypatch):
    called = []
    monkeypatch.setattr(subprocess, "run", lambda *command, **_: called.append(command))
    exec(stored.cells[1].source, {})
    assert called == []
