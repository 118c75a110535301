"""A run whose files or settings were changed while it was stopped is continued only if the user accepts that."""

import importlib
import json
import os
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import walk
from small_runs import assert_same_run, corridor, run_in, stop_after, weights_of

from rl_il.config import RunConfig
from rl_il.datasets import save_trajectories
from rl_il.errors import InputError, Interrupted
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.runs.checkpoint import checksum
from rl_il.runs.experiment import resume
from rl_il.runs.inputs import Input, read_inputs
from rl_il.runs.own_modules import own_modules

PILOT = "from tilt import THRESHOLD\n\ndef act(ob):\n    return 0 if ob[0] < THRESHOLD else 2\n"
RULE = "from rl_il.infrastructure.dagger import DAgger\n\nclass Mine(DAgger):\n    pass\n"
DEMOS = (
    "from fakes import walk\n\nACTION = 2\n\ndef load():\n    return [walk(3, action=ACTION), walk(5, action=1)]\n"
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a working folder with an expert, demonstrations, and modules of the user's own."""
    corridor(tmp_path / "files")
    for name, text in {"pilot": PILOT, "tilt": "THRESHOLD = 2\n", "taste": RULE, "shown": DEMOS}.items():
        (tmp_path / "files" / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != os.getcwd()])
    monkeypatch.chdir(tmp_path / "files")
    yield tmp_path / "files"
    for name in ("pilot", "tilt", "taste", "shown"):
        sys.modules.pop(name, None)


NAMED = {"expert_policy_file": "expert.npz", "expert_data": "demos.npz"}
OWN = {"expert_policy_file": "pilot:act", "rule": "taste:Mine", "expert_data": "shown:load"}


def begin(monkeypatch, folder: Path, files: Path, blocks: int, **settings) -> dict:
    """Start a run, stop it after this number of blocks (0: before anything is saved), and return its config.json."""
    config = corridor(files, **NAMED | settings)
    if blocks:
        stop_after(monkeypatch, folder, config, blocks)
    else:
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(RLTrainer, "train", lambda *_: (_ for _ in ()).throw(Interrupted()))
            run_in(folder, config)
        assert not (folder / "checkpoint/checkpoint.json").exists()
    return json.loads((folder / "config.json").read_text())


def negate(path: Path) -> None:
    with np.load(path) as arrays:
        np.savez(path, **{name: -array if array.dtype.kind == "f" else array for name, array in arrays.items()})


def test_config_json_lists_what_a_run_reads_from_the_start(tmp_path, monkeypatch, files):
    monkeypatch.setenv("PYTHONPATH", "")
    record = begin(monkeypatch, tmp_path / "run", files, 0)
    assert record["inputs"][:2] == [
        {"setting": name, "given": given, "file": str(files / given), "sha256": checksum(files / given)}
        for name, given in NAMED.items()
    ]
    assert {item["setting"] for item in record["inputs"][2:]} <= {"module"}  # of these tests
    assert record["config"]["expert_data"] == "demos.npz"
    record = begin(monkeypatch, tmp_path / "own", files, 0, **OWN)
    modules = {item["given"]: item for item in record["inputs"] if item["setting"] == "module"}
    for name in ("pilot", "tilt", "taste", "shown"):
        assert modules[name]["file"] == str(files / f"{name}.py")
        assert modules[name]["sha256"] == checksum(files / f"{name}.py")
    (data,) = [item for item in record["inputs"] if item["setting"] == "expert_data"]
    assert (data["given"], data["file"], len(data["sha256"])) == ("shown:load", None, 64)


def test_installed_modules_and_those_of_the_package_are_not_listed(tmp_path, monkeypatch, files):
    own = {"activation": "torch.nn:Mish", "rule": "rl_il.infrastructure.dagger:DAgger", "loss": "json:dumps"}
    config = corridor(files, **NAMED, **own)
    monkeypatch.setitem(sys.modules, "generated", types.ModuleType("generated"))  # as torch's compiler makes some
    sys.modules["generated"].__file__ = str(files / "pilot.py")
    names = {item.given for item in read_inputs(config, [], config) if item.setting == "module"}
    assert not {"__main__", "json", "torch.nn", "numpy", "pytest", "rl_il.infrastructure.dagger", "generated"} & names


MODULES = {  # another folder's module, a package, and how they import each other
    "late.py": "import shelf.box\n\nNUMBER = 1\n",
    "shelf/__init__.py": "",
    "shelf/box.py": "def open_it():\n    from . import lid\n    return lid\n",
    "shelf/lid.py": "from .... import nothing\nimport json, numpy, not_there\n",
    "shelf/other.py": "",
    "broken.py": "def",
    "unused.py": "",
}


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Return a folder on the search path with modules that are imported by nothing yet."""
    (tmp_path / "library/shelf").mkdir(parents=True)
    for name, text in MODULES.items():
        (tmp_path / "library" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "library")
    yield tmp_path / "library"
    for name in [name for name in sys.modules if name.partition(".")[0] in ("late", "shelf", "broken", "unused")]:
        del sys.modules[name]


def test_modules_of_other_folders_are_listed_also_those_that_are_imported_later(files, library):
    pilot = "def act(ob):\n    import late, broken\n    return late.NUMBER\n"
    (files / "pilot.py").write_text(pilot)
    sys.path.insert(0, str(files))
    importlib.invalidate_caches()
    importlib.import_module("pilot")
    found = {name: path for name, path in own_modules().items() if library in path.parents}
    assert found.keys() == {"late", "broken", "shelf", "shelf.box", "shelf.lid"}
    assert found["shelf"] == library / "shelf/__init__.py" and found["shelf.lid"] == library / "shelf/lid.py"
    assert "late" not in sys.modules


def test_a_folder_without_init_in_a_package_that_is_not_imported_is_searched(files, library):
    (library / "shelf/deep/box").mkdir(parents=True)
    (library / "shelf/deep/box/tool.py").write_text("")
    (files / "pilot.py").write_text("def act(ob):\n    import shelf.deep.box.tool\n    return 0\n")
    sys.path.insert(0, str(files))
    importlib.invalidate_caches()
    importlib.import_module("pilot")
    assert own_modules()["shelf.deep.box.tool"] == library / "shelf/deep/box/tool.py"


@pytest.mark.parametrize("blocks", [0, 1])
def test_a_module_that_only_a_step_imports_is_refused_if_it_was_changed(
    tmp_path, monkeypatch, files, library, blocks
):
    (files / "pilot.py").write_text("def act(ob):\n    import late\n    return late.NUMBER\n")
    begin(monkeypatch, tmp_path / "run", files, blocks, **OWN)
    (library / "late.py").write_text("NUMBER = 2\n")
    with pytest.raises(InputError, match=str(library / "late.py")):
        resume(tmp_path / "run", verbose=False)


def test_the_module_that_an_experts_file_names_is_listed(tmp_path, monkeypatch, files):
    (files / "nets.py").write_text(
        "from torch import nn\n\nfrom rl_il.policies.mlp_policy import MLPPolicySL\n\nclass Mine(MLPPolicySL):\n"
        "    def build_network(self, features, outputs):\n        return nn.Linear(features, outputs)\n"
    )
    config = corridor(files, n_iter=1, do_dagger=False, policy_class="nets:Mine")
    trained = run_in(tmp_path / "trained", config).folder
    del sys.modules["nets"]
    record = begin(monkeypatch, tmp_path / "run", files, 1, expert_policy_file=str(trained / "policy_itr_0.pt"))
    assert "nets" in {item["given"] for item in record["inputs"]}
    (files / "nets.py").write_text((files / "nets.py").read_text() + "    size = 3\n")
    with pytest.raises(InputError, match=str(files / "nets.py")):
        resume(tmp_path / "run", verbose=False)
    del sys.modules["nets"]


def test_an_included_expert_and_the_normaliser_of_a_zip_are_listed(tmp_path, monkeypatch, files):
    config = corridor(files, env_name="LunarLander-v3", expert_policy_file=None, expert_data=None)
    assert [(item.given, Path(item.file).name) for item in files_read(config)] == [
        (None, "LunarLander-v3.npz"),
        (None, "LunarLander-v3.npz"),
    ]
    import zipfile

    with zipfile.ZipFile("ppo.zip", "w") as file:
        file.writestr("policy.pth", b"")
    Path("vec_normalize.pkl").write_bytes(b"mean and variance")
    config = replace(config, expert_policy_file="ppo.zip")
    expert, normaliser, _ = files_read(config)
    assert (expert.file, normaliser.file) == (str(files / "ppo.zip"), str(files / "vec_normalize.pkl"))
    assert len(files_read(replace(config, no_normalizer=True))) == 2


def files_read(config: RunConfig) -> list[Input]:
    """Return what a run reads, without modules: there are those of these tests."""
    return [item for item in read_inputs(config, [], config) if item.setting != "module"]


@pytest.mark.parametrize("blocks", [0, 1])
@pytest.mark.parametrize(
    ("name", "settings", "change"),
    [
        ("expert.npz", {}, negate),
        ("demos.npz", {}, lambda path: save_trajectories(path, [walk(3, action=2), walk(5, action=0)])),
        ("pilot.py", OWN, lambda path: path.write_text(PILOT.replace("<", ">"))),
        ("tilt.py", OWN, lambda path: path.write_text("THRESHOLD = 3\n")),
        ("taste.py", OWN, lambda path: path.write_text(RULE + "    beta = 0.5\n")),
        ("expert.npz", {}, Path.unlink),
        ("demos.npz", {}, Path.unlink),
        ("pilot.py", OWN, Path.unlink),
    ],
)
def test_a_changed_or_missing_file_is_refused_by_name(tmp_path, monkeypatch, files, blocks, name, settings, change):
    run_in(tmp_path / "whole", corridor(files, **NAMED | settings))
    begin(monkeypatch, tmp_path / "run", files, blocks, **settings)
    content, before = (files / name).read_bytes(), (tmp_path / "run/config.json").read_text()
    change(files / name)
    with pytest.raises(InputError, match=f"{files / name}.*--accept_changes") as caught:
        resume(tmp_path / "run", verbose=False)
    assert str(files / "expert.npz" if name != "expert.npz" else files / "demos.npz") not in str(caught.value)
    assert (tmp_path / "run/config.json").read_text() == before
    (files / name).write_bytes(content)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_function_that_returns_other_demonstrations_is_refused_by_name(tmp_path, monkeypatch, files):
    begin(monkeypatch, tmp_path / "run", files, 1, **OWN)
    sys.modules["shown"].ACTION = 0
    with pytest.raises(InputError, match=r"shown:load.*--accept_changes"):
        resume(tmp_path / "run", verbose=False)
    resume(tmp_path / "run", verbose=False, accept_changes=True)


@pytest.mark.parametrize("blocks", [0, 2])
def test_accepted_changes_are_recorded_and_refused_no_more(tmp_path, monkeypatch, files, blocks):
    whole = run_in(tmp_path / "whole", corridor(files, **NAMED)).folder
    folder = tmp_path / "run"
    before = begin(monkeypatch, folder, files, blocks)
    negate(files / "expert.npz")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(RLTrainer, "train", lambda *_: (_ for _ in ()).throw(Interrupted()))
        resume(folder, verbose=False, accept_changes=True)
    record = json.loads((folder / "config.json").read_text())
    ((accepted,), item) = record["accepted_changes"], record["inputs"][0]
    assert (accepted["changes"], accepted["gradient_steps"]) == ([f"{files / 'expert.npz'} was changed"], 20 * blocks)
    assert accepted["time"].startswith("20")
    assert item["sha256"] == checksum(files / "expert.npz") != before["inputs"][0]["sha256"]
    resume(folder, verbose=False)
    assert weights_of(folder).keys() == weights_of(whole).keys() and weights_of(folder) != weights_of(whole)


@pytest.mark.parametrize("own", [False, True])
def test_a_run_is_continued_from_another_folder(tmp_path, monkeypatch, files, own):
    whole = run_in(tmp_path / "whole", corridor(files, **OWN if own else NAMED)).folder
    begin(monkeypatch, tmp_path / "run", files, 1, **OWN if own else {})
    (tmp_path / "elsewhere").mkdir()
    for name in ("pilot", "tilt", "taste", "shown"):
        sys.modules.pop(name, None)
        (tmp_path / "elsewhere" / f"{name}.py").write_text("raise RuntimeError('another module of this name')")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(files)])
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("own", [False, True])
def test_a_run_is_continued_with_files_that_were_moved(tmp_path, monkeypatch, files, own):
    whole = run_in(tmp_path / "whole", corridor(files, **OWN if own else NAMED)).folder
    begin(monkeypatch, tmp_path / "run", files, 1, **OWN if own else {})
    shutil.move(files, tmp_path / "moved")
    for name in ("pilot", "tilt", "taste", "shown"):
        sys.modules.pop(name, None)
    monkeypatch.chdir(tmp_path / "moved")
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole)


# Settings ---------------------------------------------------------------------------------------------------


def edit(folder: Path, **settings) -> None:
    record = json.loads((folder / "config.json").read_text())
    record["config"] |= settings
    (folder / "config.json").write_text(json.dumps(record))


@pytest.mark.parametrize("blocks", [0, 1])
@pytest.mark.parametrize("changed", [{"seed": 2}, {"learning_rate": 0.1}, {"torch_threads": 2}, {"n_iter": 2}])
def test_an_edited_setting_is_refused_by_name(tmp_path, monkeypatch, files, blocks, changed):
    (name, value), *_ = changed.items()
    begin(monkeypatch, tmp_path / "run", files, blocks)
    edit(tmp_path / "run", **changed)
    with pytest.raises(InputError, match=f"--{name} was .* is {value}.*--accept_changes"):
        resume(tmp_path / "run", verbose=False)
    resume(tmp_path / "run", verbose=False, accept_changes=True)
    record = json.loads((tmp_path / "run/config.json").read_text())
    assert record["config"][name] == value
    assert f"--{name} was " in record["accepted_changes"][0]["changes"][0]


def test_settings_without_effect_on_the_result_may_change(tmp_path, monkeypatch, files):
    whole = run_in(tmp_path / "whole", corridor(files, **NAMED)).folder
    begin(monkeypatch, tmp_path / "run", files, 1)
    edit(tmp_path / "run", num_workers=2, exp_name="other", logdir="elsewhere")
    resume(tmp_path / "run", verbose=False, torch_threads=1)
    assert_same_run(tmp_path / "run", whole)
    assert "accepted_changes" not in json.loads((tmp_path / "run/config.json").read_text())


def test_another_number_of_threads_is_refused_at_once_or_accepted(tmp_path, monkeypatch, files):
    begin(monkeypatch, tmp_path / "run", files, 1)
    with pytest.raises(InputError, match=r"--torch_threads was 1 and is 2.*--accept_changes"):
        resume(tmp_path / "run", verbose=False, torch_threads=2)
    resume(tmp_path / "run", verbose=False, torch_threads=2, accept_changes=True)
    assert json.loads((tmp_path / "run/config.json").read_text())["config"]["torch_threads"] == 2


def test_accepted_settings_that_do_not_fit_the_checkpoint_are_refused(tmp_path, monkeypatch, files):
    begin(monkeypatch, tmp_path / "run", files, 1)
    edit(tmp_path / "run", size=16)
    with pytest.raises(InputError, match="--size was 8 and is 16"):
        resume(tmp_path / "run", verbose=False, accept_changes=True)


@pytest.mark.parametrize("removed", [NAMED["expert_policy_file"], "pilot.py", "shown:load"])
def test_an_entry_that_was_removed_from_config_json_is_noticed(tmp_path, monkeypatch, files, removed):
    record = begin(monkeypatch, tmp_path / "run", files, 1, **(NAMED if removed == "expert.npz" else OWN))
    kept = [item for item in record["inputs"] if Path(item["file"] or item["given"]).name != removed]
    assert len(kept) == len(record["inputs"]) - 1
    (tmp_path / "run/config.json").write_text(json.dumps(record | {"inputs": kept}))
    with pytest.raises(InputError, match=f"{removed} is not in config.json.*--accept_changes"):
        resume(tmp_path / "run", verbose=False)
    resume(tmp_path / "run", verbose=False, accept_changes=True)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")])
def test_settings_that_are_missing_in_the_checkpoint_are_noticed(tmp_path, monkeypatch, files, damage):
    whole = run_in(tmp_path / "whole", corridor(files, **NAMED)).folder
    begin(monkeypatch, tmp_path / "run", files, 1)
    damage(tmp_path / "run/checkpoint/settings.json")
    with pytest.raises(InputError, match=r"checkpoint/settings\.json.*--accept_changes"):
        resume(tmp_path / "run", verbose=False)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(RLTrainer, "train", lambda *_: (_ for _ in ()).throw(Interrupted()))
        resume(tmp_path / "run", verbose=False, accept_changes=True)
    resume(tmp_path / "run", verbose=False)  # they are there again
    assert_same_run(tmp_path / "run", whole)


# Folders of earlier versions --------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
def test_a_folder_of_an_earlier_version_is_continued_with_a_note(tmp_path, monkeypatch, files, own, capsys):
    settings = {"expert_data": "shown:load"} if own else {}
    whole = run_in(tmp_path / "whole", corridor(files, **NAMED | settings)).folder
    record = begin(monkeypatch, tmp_path / "run", files, 1, **settings)
    (data,) = [item for item in record.pop("inputs") if item["setting"] == "expert_data"]
    old = {"file": data["given"] if own else data["file"], "sha256": data["sha256"]}
    (tmp_path / "run/config.json").write_text(json.dumps(record | {"data": {"demonstrations": old}}))
    (tmp_path / "run/checkpoint/settings.json").unlink()
    other = shutil.copytree(tmp_path / "run", tmp_path / "other")
    resume(tmp_path / "run")
    assert f"note: {tmp_path / 'run'}" in capsys.readouterr().err
    assert_same_run(tmp_path / "run", whole)
    if own:
        sys.modules["shown"].ACTION = 0
    else:
        save_trajectories(files / "demos.npz", [walk(3, action=0)])
    with pytest.raises(InputError, match="shown:load" if own else str(files / "demos.npz")):
        resume(other)


def test_a_finished_run_is_not_compared(tmp_path, files):
    folder = run_in(tmp_path / "run", corridor(files, **NAMED)).folder
    negate(files / "expert.npz")
    edit(folder, seed=7)
    assert resume(folder, verbose=False) is None
