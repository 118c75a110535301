"""The course's three parts, and the zip that is handed in, read back by TensorBoard itself."""

import io
import runpy
import sys
import zipfile
from dataclasses import replace

import pytest
from run_folders import GIF, write_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_layers import REPOSITORY

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.report.assignment import assignment_page
from rl_il.report.events import Submission, submission, without_images
from rl_il.report.page import Commands, Note, Page, Picture, Table, Text
from rl_il.report.runs import find_runs
from rl_il.report.sweep import sweep_of
from rl_il.report.tasks import tasks_of
from rl_il.report.writing import write_assignment

BC = RunConfig(env_name="Corridor-v0", n_demos=2)
TIMED = replace(BC, env_name="TimedCorridor-v0")
DAGGER = replace(BC, do_dagger=True, n_iter=3)
EMPTY = Submission(b"", {})


def page_of(folder) -> Page:
    return assignment_page(tasks_of(find_runs([folder]), 0), "Homework", EMPTY)


def part(page: Page, number: int) -> Page:
    (section,) = [section for section in page.sections if section.title.startswith(f"Part {number}")]
    return Page("", "", [section])


def rows_of(table: Table) -> list[dict[str, str]]:
    header, *rows = table.rows
    return [dict(zip(header, row, strict=True)) for row in rows]


def texts(page: Page) -> str:
    return " ".join(block.text for kind in (Text, Note) for block in page.blocks(kind))


# The parts ------------------------------------------------------------------------------------------------


def test_part_1_is_a_table_over_tasks_worked_out_by_hand(tmp_path):
    write_run(tmp_path / "a", BC, {0: [0, 10]}, expert=[10, 30])
    write_run(tmp_path / "b", replace(BC, seed=2), {0: [20, 30]}, expert=[50, 70])
    write_run(tmp_path / "c", TIMED, {0: [2, 4]}, expert=[4, 4])
    page = part(page_of(tmp_path), 1)
    corridor, timed = rows_of(page.blocks(Table)[0])
    assert corridor.pop("95 % interval")
    assert corridor == {
        "task": "Corridor-v0",
        "BC, mean return": "15.0",
        "std over episodes": "11.2",
        "episodes": "4",
        "seeds": "2",
        "std over seeds": "14.1",
        "expert, mean return": "40.0",
        "expert, std over episodes": "22.4",  # the square root of 500
        "% of expert": "37.5",
    }
    assert (timed["BC, mean return"], timed["% of expert"], timed["std over seeds"]) == ("3.0", "75.0", "")
    assert "The same in all tasks: network (2 hidden layers of 64 tanh); training (1,000 steps of 100 rows" in texts(
        page
    )
    assert page.blocks(Note) == []


def test_part_1_takes_the_variants_that_are_most_alike(tmp_path):
    write_run(tmp_path / "a", BC, {0: [1, 1]})
    write_run(tmp_path / "b", replace(BC, size=32), {0: [2, 2]})
    measuring = {"eval_episodes": 9, "val_fraction": 0.1}  # which changes nothing of what is learnt
    write_run(tmp_path / "c", replace(BC, **measuring), {0: [7, 7]})
    write_run(tmp_path / "d", replace(TIMED, size=32, **measuring), {0: [3, 3]})
    page = part(page_of(tmp_path), 1)
    assert [row["BC, mean return"] for row in rows_of(page.blocks(Table)[0])] == ["2.0", "3.0"]
    assert page.blocks(Note) == []


def test_part_1_says_where_the_comparison_is_unfair(tmp_path):
    write_run(tmp_path / "a", BC, {0: [1, 1]})
    write_run(tmp_path / "c", replace(TIMED, size=32, n_demos=None), {0: [3, 3]})
    page = part(page_of(tmp_path), 1)
    (note,) = page.blocks(Note)
    assert "(n_demos, size): the comparison is not a fair one" in note.text
    assert page.blocks(Table)[1].rows[1:] == [["Corridor-v0", "2", "64"], ["TimedCorridor-v0", "all", "32"]]
    assert "network" not in texts(page)


def test_parts_without_runs_say_which_commands_make_them(tmp_path, monkeypatch):
    write_run(tmp_path / "bc" / "a", BC, {0: [1, 1]})
    write_run(tmp_path / "dagger" / "a", DAGGER, {0: [1, 1], 1: [2, 2], 2: [3, 3]})
    only_bc, only_dagger = page_of(tmp_path / "bc"), page_of(tmp_path / "dagger")
    expected = [(only_bc, 1, 1), (only_bc, 2, 4), (only_bc, 3, 1), (only_dagger, 1, 2), (only_dagger, 2, 4)]
    for page, number, count in expected:
        (commands,) = part(page, number).blocks(Commands)
        assert len(commands.lines) == count
        for line in commands.lines:
            assert accepted(monkeypatch, line)
    assert "asks for a second task" in texts(part(only_bc, 1))
    assert part(only_dagger, 3).blocks(Commands) == []


def accepted(monkeypatch, command: str) -> bool:
    """Whether run_hw1 gets as far as its run."""
    _, script, *args = command.split()
    ran = []
    monkeypatch.setattr("rl_il.experiment.run", lambda *args: ran.append(args))
    monkeypatch.setattr(sys, "argv", [script, *args])
    runpy.run_path(str(REPOSITORY / script), run_name="__main__")
    return len(ran) == 1


@pytest.mark.parametrize(
    ("settings", "name", "order"),
    [
        ([{"size": 64}, {"size": 8}, {"size": 16}], "size", [8, 16, 64]),
        ([{}, {"size": 8, "n_layers": 1}], "", []),
        ([{}, {"size": 8}, {"size": 16}, {"size": 8, "n_layers": 1}], "size", [8, 16, 64]),
        ([{}, {"activation": "relu"}, {"activation": "elu"}, {"size": 8}], "activation", ["tanh", "relu", "elu"]),
        ([{"n_demos": None}, {"n_demos": 1}], "n_demos", [None, 1]),
    ],
)
def test_the_setting_that_was_varied_alone_is_found(tmp_path, settings, name, order):
    for i, setting in enumerate(settings):
        write_run(tmp_path / str(i), replace(BC, **setting), {0: [i, i + 2]})
    (task,) = tasks_of(find_runs([tmp_path]), 0)
    found, variants = sweep_of(task)
    if not name:
        assert len(variants) < 2
        return
    assert found == name
    assert [getattr(variant.config, name) for variant in variants] == order


@pytest.mark.parametrize("setting", [{"size": 8}, {"activation": "relu"}, {"learning_rate": 5e-4}])
def test_part_2_draws_the_sweep_with_its_table(tmp_path, setting):
    write_run(tmp_path / "a", BC, {0: [1, 3]}, expert=[5])
    write_run(tmp_path / "b", replace(BC, **setting), {0: [3, 5]}, expert=[5])
    page = part(page_of(tmp_path), 2)
    (name,) = setting
    (picture,) = page.blocks(Picture)
    assert picture.name == f"Corridor-v0_part_2_{name}"
    assert "expert, measured now 5.0" in picture.alt
    rows = {row[name]: row for row in rows_of(page.blocks(Table)[0])}
    assert len(rows) == 2
    shown = next(iter(setting.values()))
    assert rows[f"{shown}"]["mean return"] == "4.0"
    assert "mathdefault" not in picture.inline


def test_part_3_has_error_bars_and_the_lines_of_expert_and_cloning(tmp_path):
    write_run(tmp_path / "a", DAGGER, {0: [0, 2], 1: [4, 8], 2: [9, 11]}, expert=[10, 14])
    page = part(page_of(tmp_path), 3)
    (picture,) = page.blocks(Picture)
    assert picture.alt == (
        "Mean return against iteration: DAgger goes from 1.0 at 0 to 10.0 at 2; expert, measured now 12.0; BC 1.0."
    )
    assert "one standard deviation over the episodes" in picture.caption.replace("\n", " ")
    rows = rows_of(page.blocks(Table)[0])
    assert [(row["iteration"], row["mean return"], row["std over episodes"]) for row in rows] == [
        ("0", "1.0", "1.0"),
        ("1", "6.0", "2.0"),
        ("2", "10.0", "1.0"),
    ]


def test_runs_that_break_the_courses_rule_are_named(tmp_path):
    write_run(tmp_path / "several", BC, {0: [1, 3]})
    assert "rule" not in texts(page_of(tmp_path))
    write_run(tmp_path / "single", replace(BC, size=8), {0: [1]})
    (note,) = page_of(tmp_path).blocks(Note)
    assert "rule" in note.text and "single (eval_batch_size 1,000)" in note.text and "several" not in note.text


# What is handed in ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A clone and a DAgger run with event files and videos."""
    root = tmp_path_factory.mktemp("logged")
    write_run(root / "q1_bc_x", BC, {0: [1, 3]}, videos=[0], events=True)
    dagger = {0: [1, 1], 1: [2, 4], 2: [5, 7]}
    write_run(root / "mine", DAGGER, dagger, videos=[0, 1, 2], gif=GIF + bytes(100_000), events=True)
    return root


def test_the_zip_holds_the_scalars_and_no_picture(logged, tmp_path):
    with zipfile.ZipFile(io.BytesIO(submission(find_runs([logged])).data)) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    assert sorted({name.rpartition("/")[0] for name in names}) == ["run_logs/q1_bc_x", "run_logs/q2_mine"]
    assert all("/events.out.tfevents." in name for name in names)
    events = EventAccumulator(str(tmp_path / "run_logs" / "q2_mine")).Reload()
    assert events.Tags()["images"] == []
    assert [(event.step, event.value) for event in events.Scalars("Eval_AverageReturn")] == [(0, 1), (1, 3), (2, 6)]
    assert EventAccumulator(str(logged / "mine")).Reload().Tags()["images"] == ["eval_rollouts"]


def test_what_is_kept_is_the_same_to_the_byte(logged):
    (path,) = (logged / "mine").glob("events*")
    kept, whole = without_images(path), path.read_bytes()
    assert len(kept) < len(whole) - 3 * 100_000
    from rl_il.infrastructure.events import read_events

    records = [record for record, _ in read_events(path) if b"GIF89a" not in record]
    assert kept == b"".join(records)
    assert len(records) > 3


def test_the_zip_is_the_same_every_time(logged):
    runs = find_runs([logged])
    assert submission(runs).data == submission(runs).data


def test_two_folders_of_one_name_both_go_in(tmp_path):
    for place in ("a", "b"):
        write_run(tmp_path / place / "run", replace(BC, seed=ord(place)), {0: [1, 3]}, events=True)
    assert [*submission(find_runs([tmp_path])).names.values()] == ["q1_run", "q1_run_2"]


def test_a_zip_above_the_limit_is_refused(logged):
    with pytest.raises(
        InputError, match=r"submit.zip would have 0\.0 MB, more than the 0\.0001 MB .*give fewer runs"
    ):
        submission(find_runs([logged]), most_bytes=100)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (None, "has no event file"),
        (lambda data: data[:-3], "cut short"),
        (lambda data: data[:5], "cut short"),
        (lambda data: b"x" + data[1:], "no event file of TensorBoard"),
        (lambda data: data[:12] + b"\xff" * 20 + data[32:], "no event file of TensorBoard"),
    ],
)
def test_a_run_without_a_whole_event_file_is_refused(tmp_path, damage, why):
    write_run(tmp_path / "run", BC, {0: [1, 3]}, events=True)
    (path,) = (tmp_path / "run").glob("events*")
    data = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(data))
    with pytest.raises(InputError, match=f"run.*: .*{why}.*run it again"):
        write_assignment(find_runs([tmp_path]), tmp_path / "out" / "page.html", tmp_path, random=False)
    assert not (tmp_path / "out").exists()


# The command ----------------------------------------------------------------------------------------------


def call(monkeypatch, capsys, *args) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["report.py", *map(str, args)])
    status = 0
    try:
        runpy.run_path(str(REPOSITORY / "scripts" / "report.py"), run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    return status, *capsys.readouterr()


def test_the_command_writes_page_and_zip(logged, tmp_path, monkeypatch, capsys):
    out = tmp_path / "hw1.html"
    status, printed, _ = call(monkeypatch, capsys, "--assignment", logged, "--out", out, "--title", "Mine")
    assert status == 0
    assert "<h1>Mine</h1>" in out.read_text()
    assert zipfile.is_zipfile(tmp_path / "submit.zip")
    assert {"hw1.html", "hw1.md", "hw1_figures", "submit.zip"} == {path.name for path in tmp_path.iterdir()}
    assert all(str(tmp_path / name) in printed for name in ("hw1.html", "submit.zip"))
    assert "Behavioural cloning beside the expert" in printed


def test_the_command_without_the_random_policy(logged, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise AssertionError("the random policy was measured")

    monkeypatch.setattr("rl_il.report.tasks.measure_random", fail)
    out = tmp_path / "page.html"
    status, printed, _ = call(monkeypatch, capsys, logged / "q1_bc_x", "--no_random", "--out", out)
    assert status == 0
    assert "random policy  " not in printed
    assert "random policy (" not in out.read_text()


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["nowhere"], "nowhere: no such folder"),
        ([], "required: RUN"),
        (["RUNS", "--out", "page.pdf"], "page.pdf: a page's name must end in .html"),
    ],
)
def test_mistakes_end_with_status_2(logged, tmp_path, monkeypatch, capsys, args, why):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(monkeypatch, capsys, *(logged if arg == "RUNS" else arg for arg in args))
    assert status == 2
    assert why in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
