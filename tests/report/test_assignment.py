"""The course's three parts, and the zip that is handed in, read back by TensorBoard itself."""

import io
import re
import zipfile
from dataclasses import replace

import pytest
from calling import assert_refused, call_script
from run_folders import GIF, dicts, write_events, write_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.report.assignment import RUNS_OF_PARTS, assignment_report
from rl_il.report.choices import TAKEN, choices_table, sweep_of
from rl_il.report.page import Commands, Note, Picture, Report, Table, Text
from rl_il.report.runs import find_runs, unfinished_runs
from rl_il.report.tasks import tasks_of
from rl_il.report.writing import event_files, submission, without_images, write_report

BC = RunConfig(env_name="Corridor-v0", n_demos=2)
TIMED = replace(BC, env_name="TimedCorridor-v0")
DAGGER = replace(BC, do_dagger=True, n_iter=3)


def page_of(folder) -> Report:
    return assignment_report(tasks_of(find_runs([folder]), 0), 0, {})


def part(page: Report, number: int) -> Report:
    (section,) = [section for section in page.sections if section.title.startswith(f"Part {number}")]
    return Report("", "", [section])


def texts(page: Report) -> str:
    return " ".join(block.text for kind in (Text, Note) for block in page.blocks(kind))


def test_part_1_is_a_table_over_tasks_worked_out_by_hand(tmp_path):
    write_run(tmp_path / "a", BC, {0: [0, 10]}, expert=[10, 30])
    write_run(tmp_path / "b", replace(BC, seed=2), {0: [20, 30]}, expert=[50, 70])
    write_run(tmp_path / "c", TIMED, {0: [2, 4]}, expert=[4, 4])
    page = part(page_of(tmp_path), 1)
    corridor, timed = dicts(page.blocks(Table)[0].rows)
    assert corridor == {
        "task": "Corridor-v0",
        "BC, mean return": "15.0",
        "95 % interval over seeds": "",  # of two seeds
        "std over episodes": "7.1",  # the square root of 50, the variance within either seed
        "episodes": "4",
        "seeds": "2",
        "std over seeds": "14.1",
        "expert, mean return": "40.0",
        "expert, std over episodes": "25.8",  # of one policy: the square root of 2000 / 3
        "% of expert": "37.5",
    }
    assert (timed["BC, mean return"], timed["% of expert"], timed["std over seeds"]) == ("3.0", "75.0", "")
    assert "2 hidden layers of 64 tanh" in texts(page) and "1,000 steps of 100 rows" in texts(page)
    assert page.blocks(Note) == []


def test_part_1_takes_the_variants_that_are_most_alike(tmp_path):
    write_run(tmp_path / "a", BC, {0: [1, 1]})
    write_run(tmp_path / "b", replace(BC, size=32), {0: [2, 2]})
    measuring = {"eval_episodes": 9, "val_fraction": 0.1}  # these do not change what is learnt
    write_run(tmp_path / "c", replace(BC, **measuring), {0: [7, 7]})
    write_run(tmp_path / "d", replace(TIMED, size=32, **measuring), {0: [3, 3]})
    page = part(page_of(tmp_path), 1)
    assert [row["BC, mean return"] for row in dicts(page.blocks(Table)[0].rows)] == ["2.0", "3.0"]
    assert page.blocks(Note) == []


def test_part_1_says_if_the_comparison_is_unfair(tmp_path):
    write_run(tmp_path / "a", BC, {0: [1, 1]})
    write_run(tmp_path / "c", replace(TIMED, size=32, n_demos=None), {0: [3, 3]})
    page = part(page_of(tmp_path), 1)
    (note,) = page.blocks(Note)
    assert "(n_demos, size)" in note.text
    assert page.blocks(Table)[1].rows[1:] == [["Corridor-v0", "2", "64"], ["TimedCorridor-v0", "all", "32"]]
    assert "hidden layers" not in texts(page)


def test_parts_without_runs_say_which_commands_make_them(tmp_path, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr("rl_il.runs.experiment.run", lambda *args: ran.append(args))
    write_run(tmp_path / "bc" / "a", BC, {0: [1, 1]})
    write_run(tmp_path / "dagger" / "a", DAGGER, {0: [1, 1], 1: [2, 2], 2: [3, 3]})
    only_bc, only_dagger = page_of(tmp_path / "bc"), page_of(tmp_path / "dagger")
    expected = [(only_bc, 1, 1), (only_bc, 2, 4), (only_bc, 3, 1), (only_dagger, 1, 2), (only_dagger, 2, 4)]
    for page, number, count in expected:
        (commands,) = part(page, number).blocks(Commands)
        assert len(commands.lines) == count
        for line in commands.lines:
            call_script(line.removeprefix("python scripts/").replace(".py", "", 1), monkeypatch, capsys)
    assert len(ran) == 12
    assert part(only_dagger, 3).blocks(Commands) == []


@pytest.mark.parametrize(
    ("settings", "name", "order"),
    [
        ([{}, {"size": 8}, {"size": 16}, {"size": 8, "n_layers": 1}], "size", [8, 16, 64]),
        ([{}, {"size": 8, "n_layers": 1}], "", []),
        ([{}, {"activation": "relu"}, {"activation": "elu"}, {"size": 8}], "activation", ["tanh", "relu", "elu"]),
        ([{"n_demos": None}, {"n_demos": 1}], "n_demos", [None, 1]),
    ],
)
def test_the_only_setting_that_was_varied_is_found(tmp_path, settings, name, order):
    for i, setting in enumerate(settings):
        write_run(tmp_path / str(i), replace(BC, **setting), {0: [i, i + 2]})
    (task,) = tasks_of(find_runs([tmp_path]), 0)
    found, variants = sweep_of(task)
    if not name:
        assert len(variants) < 2
        return
    assert found == name
    assert [getattr(variant.config, name) for variant in variants] == order


@pytest.mark.parametrize("setting", [{"activation": "relu"}, {"learning_rate": 5e-4}])
def test_part_2_draws_the_sweep_with_its_table(tmp_path, setting):
    write_run(tmp_path / "a", BC, {0: [1, 3]}, expert=[5])
    write_run(tmp_path / "b", replace(BC, **setting), {0: [3, 5]}, expert=[5])
    page = part(page_of(tmp_path), 2)
    (name,) = setting
    (picture,) = page.blocks(Picture)
    assert picture.name == f"Corridor-v0_part_2_{name}"
    assert "expert, same episodes 5.0" in picture.alt
    rows = {row[name]: row for row in dicts(page.blocks(Table)[0].rows)}
    assert len(rows) == 2
    shown = next(iter(setting.values()))
    assert rows[f"{shown}"]["mean return"] == "4.0"
    assert "mathdefault" not in picture.inline


def test_part_3_has_the_lines_of_expert_and_cloning(tmp_path):
    write_run(tmp_path / "a", DAGGER, {0: [0, 2], 1: [4, 8], 2: [9, 11]}, expert=[10, 14])
    page = part(page_of(tmp_path), 3)
    (picture,) = page.blocks(Picture)
    assert picture.alt == (
        "Mean return against iteration: DAgger goes from 1.0 at 0 to 10.0 at 2; expert, same episodes 12.0; BC 1.0."
    )
    rows = dicts(page.blocks(Table)[0].rows)
    assert [(row["iteration"], row["mean return"], row["std over episodes"]) for row in rows] == [
        ("0", "1.0", "1.4"),
        ("1", "6.0", "2.8"),
        ("2", "10.0", "1.4"),
    ]


def test_each_run_is_taken_or_the_reason_is_given(tmp_path):
    write_run(tmp_path / "a_1", BC, {0: [1, 3]})
    write_run(tmp_path / "a_2", replace(BC, seed=2), {0: [1, 3]})
    write_run(tmp_path / "b", replace(BC, size=8), {0: [1, 3]})
    write_run(tmp_path / "b_wide", replace(BC, size=16), {0: [1, 3]})
    write_run(tmp_path / "c", replace(BC, size=8, n_layers=1), {0: [1, 3]})
    write_run(tmp_path / "d", replace(TIMED, size=8), {0: [1, 3]})
    write_run(tmp_path / "e", DAGGER, {0: [1, 3], 2: [2, 4]})
    write_run(tmp_path / "f", replace(DAGGER, size=8, scalar_log_freq=-1), {2: [2, 4]})
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "config.json").write_text((tmp_path / "a_1" / "config.json").read_text())
    (tmp_path / "teach").mkdir()
    (tmp_path / "teach" / "config.json").write_text('{"teaching": {}}')
    assert unfinished_runs([tmp_path, killed]) == [killed]
    tasks = tasks_of(find_runs([tmp_path]), 0)
    rows = {row["run folder"].rpartition("/")[2]: row for row in dicts(choices_table(tasks, [killed]))}
    assert [*rows] == ["a_1", "a_2", "b", "b_wide", "c", "e", "f", "d", "killed"]
    taken = {name: [number for number in "123" if row[f"part {number}"] == TAKEN] for name, row in rows.items()}
    # Part 1 takes the clone that is most like the other task's; part 2 the sweep of `size` with all seeds.
    expected = {"a_1": ["2"], "a_2": ["2"], "b": ["1", "2"], "c": [], "d": ["1"], "e": ["3"], "f": [], "killed": []}
    assert taken == expected | {"b_wide": ["2"]}
    assert "size" in rows["a_1"]["part 1"] and "n_layers" in rows["c"]["part 2"]
    assert "Corridor-v0" in rows["d"]["part 2"]
    (shown,) = [table for table in page_of(tmp_path).blocks(Table) if table.caption == RUNS_OF_PARTS]
    assert shown.rows == choices_table(tasks) and not shown.folded  # the command prints tables that are not folded


def test_two_variants_that_cloned_alike_have_one_line_of_cloning(tmp_path):
    for i, size in enumerate((100, 200)):
        write_run(tmp_path / str(i), replace(DAGGER, batch_size=size), {0: [0, 2], 2: [4, 8 + i]})
    (picture,) = part(page_of(tmp_path), 3).blocks(Picture)
    assert picture.alt.count("BC") == 1


def test_runs_that_break_the_courses_rule_are_named(tmp_path):
    write_run(tmp_path / "several", BC, {0: [1, 3]})
    assert page_of(tmp_path).blocks(Note) == []
    write_run(tmp_path / "single", replace(BC, size=8), {0: [1]})
    (note,) = page_of(tmp_path).blocks(Note)
    assert f"{tmp_path / 'single'} (eval_batch_size 1,000)" in note.text
    assert str(tmp_path / "several") not in note.text


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Return a BC run and a DAgger run with event files and videos."""
    root = tmp_path_factory.mktemp("logged")
    write_run(root / "q1_bc_x", BC, {0: [1, 3]}, videos=[0], events=True)
    dagger = {0: [1, 1], 1: [2, 4], 2: [5, 7]}
    write_run(root / "mine", DAGGER, dagger, videos=[0, 1, 2], gif=GIF + bytes(100_000), events=True)
    return root


def unpacked(data: bytes, folder) -> dict[str, EventAccumulator]:
    """Return what TensorBoard reads in each folder of the zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert all("/events.out.tfevents." in name for name in archive.namelist())
        archive.extractall(folder)
    return {path.name: EventAccumulator(str(path)).Reload() for path in (folder / "run_logs").iterdir()}


def test_the_zip_holds_the_scalars_and_no_picture(logged, tmp_path):
    runs = find_runs([logged])
    data, _ = submission(runs)
    assert data == submission(runs)[0]  # the same bytes every time
    events = unpacked(data, tmp_path)
    assert {*events} == {"q1_bc_x", "q2_mine"}
    assert events["q2_mine"].Tags()["images"] == []
    scalars = events["q2_mine"].Scalars("Eval_AverageReturn")
    assert [(event.step, event.value) for event in scalars] == [(0, 1), (1, 3), (2, 6)]
    assert EventAccumulator(str(logged / "mine")).Reload().Tags()["images"] == ["eval_rollouts"]


def test_the_bytes_of_kept_records_do_not_change(logged):
    (records,) = event_files(logged / "mine").values()
    others = [record for record, _ in records if b"GIF89a" not in record]
    assert without_images(records) == b"".join(others)
    assert len(records) - 3 == len(others) > 3


def test_what_a_resumed_run_replaces_is_not_handed_in(tmp_path):
    folder = write_run(tmp_path / "run", DAGGER, {0: [1, 1], 1: [2, 2], 2: [3, 3]})
    write_events(folder, [{"iteration": i, "Return": i} for i in range(3)], filename_suffix=".0")
    (path,) = folder.glob("*.0")
    path.write_bytes(
        path.read_bytes() + path.read_bytes()[:15]
    )  # as if the process was killed while it wrote a record
    write_events(folder, [{"iteration": i, "Return": 10 + i} for i in (1, 2)], purge_step=1, filename_suffix=".1")
    write_events(folder / "steps", [{"iteration": 5, "Return": 7}])
    first, second = event_files(folder).values()  # TensorBoard itself would hide what the first one repeats
    steps = [{event.step for _, event in records if event.HasField("summary")} for records in (first, second)]
    assert steps == [{0}, {1, 2}]
    events = unpacked(submission(find_runs([folder]))[0], tmp_path / "zip")["q2_run"]
    assert [(event.step, event.value) for event in events.Scalars("Return")] == [(0, 0), (1, 11), (2, 12)]


def test_two_folders_of_one_name_both_go_in(tmp_path):
    for place in ("a", "b"):
        write_run(tmp_path / place / "run", replace(BC, seed=ord(place)), {0: [1, 3]}, events=True)
    assert [*submission(find_runs([tmp_path]))[1].values()] == ["q1_run", "q1_run_2"]


def test_a_zip_above_the_limit_is_refused(logged):
    with pytest.raises(InputError, match=r"0\.0001 MB"):
        submission(find_runs([logged]), max_bytes=100)


@pytest.mark.parametrize(
    "damage",
    [None, lambda data: data[:-3], lambda data: b"x" + data[1:], lambda data: data[:12] + b"\xff" * 20 + data[32:]],
)
def test_a_run_without_a_whole_event_file_is_refused(tmp_path, damage):
    write_run(tmp_path / "run", BC, {0: [1, 3]}, events=True)
    (path,) = (tmp_path / "run").glob("events*")
    data = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(data))
    with pytest.raises(InputError, match=re.escape(str(path if damage else path.parent))):
        write_report(
            find_runs([tmp_path]), tmp_path / "out" / "page.html", tmp_path, None, random=False, assignment=True
        )
    assert not (tmp_path / "out").exists()


def test_the_command_writes_page_and_zip(logged, tmp_path, monkeypatch, capsys):
    out = tmp_path / "hw1.html"
    status, printed, _ = call_script(f"report --assignment {logged} --out {out} --title Mine", monkeypatch, capsys)
    assert status == 0
    assert "<h1>Mine</h1>" in out.read_text()
    assert zipfile.is_zipfile(tmp_path / "submit.zip")
    assert {"hw1.html", "hw1.md", "hw1_figures", "submit.zip"} == {path.name for path in tmp_path.iterdir()}
    assert all(str(tmp_path / name) in printed for name in ("hw1.html", "submit.zip"))
    assert "BC, mean return" in printed


def test_the_command_without_the_random_policy(logged, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rl_il.report.tasks.measure_random", lambda *_: pytest.fail("the random policy was measured"))
    out = tmp_path / "page.html"
    status, printed, _ = call_script(f"report {logged}/q1_bc_x --no_random --out {out}", monkeypatch, capsys)
    assert status == 0
    assert "Returns in Corridor-v0" in printed and str(out) in printed
    assert "random policy (" not in out.read_text()


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ("nowhere", "nowhere"),
        ("", "RUN"),
        ("{RUNS} --out page.pdf", "page.pdf"),
        ("{RUNS} --out {RUNS}/mine/summary.json/page.html", "summary.json"),
    ],
)
def test_mistakes_end_with_status_2(logged, tmp_path, monkeypatch, capsys, args, named):
    monkeypatch.chdir(tmp_path)
    assert_refused(call_script(f"report {args.format(RUNS=logged)}", monkeypatch, capsys), named)
    assert list(tmp_path.iterdir()) == []
