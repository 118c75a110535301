"""The page about runs: its numbers, and that it is complete, safe, small and the same every time."""

import json
import re
import xml.dom.minidom
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from run_folders import GIF, dicts, write_run

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import read_csv, write_csv
from rl_il.flags import command_of
from rl_il.report.figures import COLOURS
from rl_il.report.page import (
    BACKGROUNDS,
    DARK,
    LIGHT,
    Commands,
    Note,
    Picture,
    Report,
    Section,
    Table,
    Text,
    Video,
    render_html,
    render_markdown,
)
from rl_il.report.runs import find_runs, group_runs, read_run
from rl_il.report.sections import runs_report
from rl_il.report.tables import PAIRED, SEEDS, THIS_POLICY
from rl_il.report.tasks import tasks_of, variant_names
from rl_il.report.writing import write_report
from rl_il.runs.experiment import run

BC = RunConfig(env_name="Corridor-v0", n_demos=2)
DAGGER = replace(BC, do_dagger=True, n_iter=3, val_fraction=0.1)
NOWHERE = replace(BC, env_name="Nowhere-v0")
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Elements(HTMLParser):
    """Every element with its attributes and its text; fails on tags that do not close in order."""

    def __init__(self, text: str):
        super().__init__()
        self.all, self.texts, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))
        self.open += [tag] if tag not in VOID else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.all if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of BC with two seeds, DAgger with one, and another task that cannot be made here."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "bc_1", replace(BC, seed=1), {0: [0, 10]}, expert=[10, 30], videos=[0])
    write_run(root / "bc_2", replace(BC, seed=2), {0: [20, 30]}, expert=[50, 70])
    dagger = {0: [5, 5], 1: [8, 12], 2: [35, 45]}
    write_run(root / "dagger_1", replace(DAGGER, seed=1), dagger, expert=[10, 30], videos=[0, 1, 2])
    recorded = {"git_commit": "def456-dirty", "command_line": ["python", "x.py", "--exp_name", "two words"]}
    write_run(root / "else_1", NOWHERE, {0: [-1, -3]}, expert=[], **recorded)
    return root


def page_of(folder, random_episodes: int = 0, title: str = "x") -> Report:
    return replace(runs_report(tasks_of(find_runs([folder]), random_episodes)), title=title)


@pytest.fixture(scope="module")
def page(folder):
    return page_of(folder, 20, "What <came> out")


@pytest.fixture(scope="module")
def text(page):
    return render_html(page)


def table(page: Report, caption: str) -> list[dict[str, str]]:
    (found,) = [table for table in page.blocks(Table) if table.caption == caption]
    return dicts(found.rows)


def test_the_returns_are_worked_out_by_hand(page):
    rows = {row["policy"]: row for row in table(page, "Returns in Corridor-v0")}
    clone = "BC (iteration 0 of DAgger, val_fraction 0.1)"
    names = ["random policy", "expert, same episodes", "BC, val_fraction 0", clone]
    assert list(rows) == [*names, "DAgger, val_fraction 0.1, iteration 2"]
    bc, expert = rows["BC, val_fraction 0"], rows["expert, same episodes"]
    assert (expert["mean return"], expert["episodes"]) == ("40.0", "4")  # the expert's episodes of each seed once
    assert (bc["mean return"], bc["% of expert"], bc["expert labels"]) == ("15.0", "37.5", "50")
    assert bc["std over episodes"] == "7.1"  # the square root of 50, the variance within either seed
    assert bc["std over seeds"] == "14.1"  # ten times the square root of 2
    assert bc["seed means, min to max"] == "5.0 to 25.0"
    assert (expert["std over seeds"], expert["seed means, min to max"]) == ("", "")
    assert expert["std over episodes"] == "25.8"  # of one policy: the square root of 2000 / 3
    last = rows["DAgger, val_fraction 0.1, iteration 2"]
    assert (last["mean return"], last["std over episodes"], last["expert labels"]) == ("40.0", "7.1", "52")
    assert rows[clone]["mean return"] == "5.0"
    assert float(rows["random policy"]["mean return"]) > 0
    assert rows["random policy"]["episodes"] == "20"


def test_intervals_of_single_policies_are_marked(tmp_path):
    for seed in (1, 2, 3):
        write_run(tmp_path / f"bc_{seed}", replace(BC, seed=seed), {0: [4] * 5}, expert=[10] * 5)
    write_run(tmp_path / "dagger", DAGGER, {0: [6] * 5, 2: [8] * 5}, expert=[10] * 5)
    page = page_of(tmp_path)
    expert, bc, _, last = table(page, "Returns in Corridor-v0")
    assert [row["95 % interval over seeds"] for row in (expert, bc, last)] == [
        "10.0 to 10.0 (this policy)",
        "4.0 to 4.0",
        "8.0 to 8.0 (this policy)",
    ]
    captions = {picture.name: picture.caption for picture in page.blocks(Picture)}
    assert THIS_POLICY in captions["Corridor-v0_curve_iteration"]
    assert SEEDS in captions["Corridor-v0_results"]
    assert PAIRED in captions["Corridor-v0_curve_iteration"]
    (statistics,) = [found for found in page.blocks(Table) if found.caption.startswith("Statistics")]
    header, bc, _, last = statistics.rows
    assert header.count("95 % interval over seeds") == 2
    assert (bc[2], last[2], last[6]) == ("4.0 to 4.0", "8.0 to 8.0 (this policy)", "1.000 to 1.000")


def test_the_statistics_are_worked_out_by_hand(page):
    first, clone, last = table(page, "Statistics in Corridor-v0")
    assert first["interquartile mean"] == "15.0"  # the mean of the middle two of 0, 10, 20, 30
    assert first["probability of improvement"] == ""
    assert clone["probability of improvement"] == "0.250"  # 5 is only above 0
    assert last["probability of improvement"] == "1.000"
    random = float(table(page, "Returns in Corridor-v0")[0]["mean return"])
    assert float(first["optimality gap"]) == pytest.approx(25 / (40 - random), abs=2e-3)  # of 15 to the expert's 40
    assert float(last["optimality gap"]) == 0  # its own expert, that of seed 1, has 20


def test_without_expert_or_environment_the_rest_is_there(page):
    (row,) = table(page, "Returns in Nowhere-v0")
    assert (row["mean return"], row["% of expert"]) == ("-2.0", "")
    (row,) = table(page, "Statistics in Nowhere-v0")
    assert (row["interquartile mean"], row["optimality gap"]) == ("-2.0", "")
    assert any("Nowhere-v0" in note.text for note in page.blocks(Note))


def test_settings_that_differ_and_those_that_are_the_same_have_tables(page):
    rows = table(page, "The settings in which the variants differ")
    assert [row["val_fraction"] for row in rows] == ["0", "0.1", "0"]
    assert [row["seeds"] for row in rows] == ["1, 2", "1", "1"]
    assert [row["environment"] for row in rows] == ["Corridor-v0", "Corridor-v0", "Nowhere-v0"]
    assert "learning_rate" not in rows[0]
    shared = {row["setting"]: row["value"] for row in table(page, "The settings that are the same in all runs")}
    assert (shared["learning_rate"], shared["n_demos"], shared["loss"]) == ("0.005", "2", "nll")
    assert "val_fraction" not in shared and "seed" not in shared


def test_each_figure_is_there_and_describes_its_numbers(page):
    names = [picture.name for picture in page.blocks(Picture)]
    corridor = "results profiles curve_iteration curve_steps curve_labels losses lengths".split()
    assert names == [f"Corridor-v0_{name}" for name in corridor] + ["Nowhere-v0_lengths"]
    alts = {picture.name: picture.alt for picture in page.blocks(Picture)}
    labels = alts["Corridor-v0_curve_labels"]
    assert "goes from 5.0 at 50 to 40.0 at 52" in labels
    assert all(line in labels for line in ("expert, same episodes 40.0", "BC, val_fraction 0 15.0", "random policy"))
    assert "from 5.0 at 0 to 40.0 at 2,000" in alts["Corridor-v0_curve_steps"]
    assert "training 0.3333, validation 0.6667 in iteration 2" in alts["Corridor-v0_losses"]
    assert "expert 7 to 7 steps" in alts["Corridor-v0_lengths"]


def test_what_a_rule_used_besides_labels_is_an_axis(tmp_path):
    used = ("Expert_ConsultedSoFar", "Expert_StepsSoFar", "Expert_TakeoversSoFar")
    counts = {"vanilla": (50, 51, 0, 0, 0, 0), "hg": (50, 80, 0, 30, 0, 2)}  # labels are 50 and 51
    for i, (name, numbers) in enumerate(counts.items()):
        folder = write_run(tmp_path / name, replace(DAGGER, n_iter=2, seed=i), {0: [5, 5], 1: [8, 12]})
        rows = read_csv(folder / "metrics.csv")
        for itr, row in enumerate(rows):
            row |= dict(zip(used, numbers[itr::2], strict=True))
        write_csv(folder / "metrics.csv", rows)
    for name, axes in (("vanilla", []), ("hg", ["consulted", "expert_steps", "takeovers"])):
        alts = {picture.name: picture.alt for picture in page_of(tmp_path / name).blocks(Picture)}
        curves = [each.removeprefix("Corridor-v0_curve_") for each in alts if "curve_" in each]
        assert curves == ["iteration", "steps", "labels", *axes]
    assert "goes from 5.0 at 50 to 10.0 at 80" in alts["Corridor-v0_curve_consulted"]
    assert "goes from 5.0 at 0 to 10.0 at 2" in alts["Corridor-v0_curve_takeovers"]


def test_videos_are_the_first_and_the_last_of_the_first_seed(page):
    captions = [video.caption for video in page.blocks(Video)]
    assert [caption.partition("seed")[2] for caption in captions] == [" 1, iteration 0"] * 2 + [" 1, iteration 2"]


def test_each_run_has_its_command(page, folder):
    (commands,) = page.blocks(Commands)
    told = [command_of(read_run(folder / name).config) for name in ("bc_1", "bc_2", "dagger_1")]
    assert sorted(commands.lines) == sorted([*told, "python x.py --exp_name 'two words'"])
    rows = {row[""]: row for row in table(page, "What the runs were made with")}
    assert rows["git commit"] == {"": "git commit", "bc_1 and 2 more": "abc123", "else_1": "def456-dirty"}


def test_one_cloning_is_one_row(tmp_path):
    write_run(tmp_path / "bc", BC, {0: [0, 2]})
    for i, size in enumerate((100, 200)):
        write_run(tmp_path / str(i), replace(BC, do_dagger=True, n_iter=3, batch_size=size), {0: [0, 2], 2: [4, 6]})
    write_run(tmp_path / "other", replace(BC, do_dagger=True, n_iter=3, size=8), {0: [0, 2], 2: [4, 6]})
    names = [row["policy"] for row in table(page_of(tmp_path), "Returns in Corridor-v0")]
    assert sum(name.startswith("BC") for name in names) == 2  # the clone, and that of another size
    assert sum("iteration 2" in name for name in names) == 3


def test_an_interrupted_seed_sets_the_last_common_iteration(tmp_path):
    write_run(tmp_path / "a", DAGGER, {0: [0, 2], 1: [4, 6], 2: [100, 100]})
    write_run(tmp_path / "b", replace(DAGGER, seed=2), {0: [0, 2], 1: [8, 10]}, status="interrupted")
    page = page_of(tmp_path)
    last = table(page, "Returns in Corridor-v0")[-1]
    assert (last["policy"], last["mean return"]) == ("DAgger, iteration 1", "7.0")
    (note,) = page.blocks(Note)
    assert f"{tmp_path / 'b'}." in note.text


def test_cloning_that_was_evaluated_several_times_has_a_learning_curve(tmp_path):
    write_run(tmp_path / "a", BC, {0: {10: [0, 2], 20: [4, 6], 200: [8, 10]}})
    write_run(tmp_path / "b", replace(BC, seed=2), {0: {10: [2, 4], 200: [10, 12]}})
    write_run(tmp_path / "once", replace(BC, size=8), {0: {200: [7, 7]}})
    page = page_of(tmp_path)
    (curve,) = [picture for picture in page.blocks(Picture) if picture.name == "Corridor-v0_curve_gradient_steps"]
    assert "size 64 goes from 2.0 at 10 to 10.0 at 200;" in curve.alt and "size 8" not in curve.alt
    assert table(page, "Returns in Corridor-v0")[1]["mean return"] == "10.0"


def test_seeds_without_a_common_iteration_are_refused(tmp_path):
    write_run(tmp_path / "a", DAGGER, {2: [100, 100]})
    write_run(tmp_path / "b", replace(DAGGER, seed=2), {0: [0, 2]}, status="interrupted")
    with pytest.raises(InputError, match=r"/a, .*/b;"):
        tasks_of(find_runs([tmp_path]), 0)


def test_an_environment_with_other_arguments_is_another_task(tmp_path):
    """The random policy of each is measured in the environment of its runs, whose lander falls more slowly."""
    lander = replace(BC, env_name="LunarLander-v3", ep_len=20)
    write_run(tmp_path / "a", lander, {0: [0, 2]})
    write_run(tmp_path / "b", replace(lander, env_kwargs="gravity=-1.0"), {0: [4, 6]})
    earth, moon = tasks_of(find_runs([tmp_path]), 1)
    assert (earth.env_name, moon.env_name) == ("LunarLander-v3", "LunarLander-v3 gravity=-1.0")
    assert earth.random.scores[0] != moon.random.scores[0]


def test_experts_that_differ_have_different_names(tmp_path):
    write_run(tmp_path / "a", BC, {0: [10]}, expert=[20])
    write_run(tmp_path / "b", replace(BC, ep_len=5), {0: [10]}, expert=[100])
    rows = {row["policy"]: row for row in table(page_of(tmp_path), "Returns in Corridor-v0")}
    assert {"expert, same episodes (ep_len default)", "expert, same episodes (ep_len 5)"} <= {*rows}
    assert rows["ep_len default"]["% of expert"] == "50.0"
    assert rows["ep_len 5"]["% of expert"] == "10.0"


def test_long_names_make_no_figure_wider(tmp_path):
    widths = []
    for name in ("x.npz", f"{'demonstrations_of_another_expert_' * 3}.npz"):
        for i in range(2):
            config = replace(DAGGER, expert_data=f"{i}_{name}", seed=i)
            write_run(tmp_path / name / str(i), config, {0: [0, i], 1: [2, 4], 2: [5, 6]})
        files = [picture.file.decode() for picture in page_of(tmp_path / name).blocks(Picture)]
        widths.append([float(re.search(r'viewBox="0 0 ([\d.]+) ', file)[1]) for file in files])
    assert widths[0] == pytest.approx(widths[1], rel=0.03)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([{}], ["BC"]),
        ([{}, {"do_dagger": True, "n_iter": 3, "size": 8}], ["BC, size 64", "DAgger, size 8"]),
        ([{}, {"learning_rate": 1e-3}], ["learning_rate 0.005", "learning_rate 0.001"]),
        ([{}, {"n_demos": None}], ["n_demos 2", "n_demos all"]),
        ([{}, {"normalize_obs": True}], ["normalize_obs no", "normalize_obs yes"]),
        ([{"do_dagger": True, "n_iter": 3}, {"do_dagger": True, "n_iter": 10}], ["n_iter 3", "n_iter 10"]),
        ([{}, {"loss": "nll"}], ["loss default", "loss nll"]),
        ([{"expert_data": "a/x.npz"}, {"expert_data": "y.npz"}], ["expert_data x.npz", "expert_data y.npz"]),
        ([{"expert_data": "a/x.npz"}, {"expert_data": "b/x.npz"}], ["expert_data a/x.npz", "expert_data b/x.npz"]),
    ],
)
def test_variants_are_named_by_the_settings_that_differ(tmp_path, settings, names):
    configs = [replace(BC, **setting) for setting in settings]
    runs = [read_run(write_run(tmp_path / str(i), config, {0: [1]})) for i, config in enumerate(configs)]
    assert variant_names(group_runs(runs)) == names


def test_the_html_is_complete_and_its_figures_are_described(page, text):
    elements = Elements(text)
    figures = [attributes["aria-label"] for attributes in elements.named("svg") if attributes.get("role") == "img"]
    assert figures == [picture.alt for picture in page.blocks(Picture)]
    assert [attributes["alt"] for attributes in elements.named("img")] == [v.caption for v in page.blocks(Video)]
    assert {attributes["scope"] for attributes in elements.named("th")} == {"row", "col"}
    assert "viewport" in [attributes.get("name") for attributes in elements.named("meta")]
    assert len(elements.named("caption")) == len(elements.named("thead")) == len(page.blocks(Table))
    anchors = {attributes["href"] for attributes in elements.named("a")}
    ids = [attributes["id"] for _, attributes in elements.all if "id" in attributes]
    assert anchors <= {f"#{name}" for name in ids}
    assert len(ids) == len({*ids})


def test_the_html_loads_nothing_and_runs_nothing(text):
    elements = Elements(text)
    for _, attributes in elements.all:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert re.match(r"#|data:image/gif;base64,", attributes.get(name, "#"))
        assert not any(name.startswith("on") for name in attributes)
    assert re.findall(r"url\((?!#)|@import", text) == []
    assert not {tag for tag, _ in elements.all} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert any("default-src 'none'" in attributes.get("content", "") for attributes in elements.named("meta"))


def test_names_cannot_add_elements(tmp_path):
    attack = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    config = replace(BC, exp_name=attack, expert_data=f"{attack}$x$.npz", env_name=f"Nowhere{attack}-v0")
    other = replace(config, expert_data=f"`{attack}`|[a](javascript:alert(1))", seed=2)
    write_run(tmp_path / "<b>bold&", config, {0: [1, 2]}, videos=[0], platform=attack, git_commit=attack)
    write_run(tmp_path / "`|other", other, {0: [1, 2]}, command_line=["python", f"```{attack}"])
    page = page_of(tmp_path, 20, attack)
    elements = Elements(render_html(page))
    assert not {tag for tag, _ in elements.all} & {"script", "b"}
    assert all(attributes.get("src", "data:").startswith("data:") for attributes in elements.named("img"))
    assert attack in "".join(elements.texts)
    for figure in page.blocks(Picture):
        root = xml.dom.minidom.parseString(figure.inline).documentElement
        assert not root.getElementsByTagName("script") and not root.getElementsByTagName("img")
    assert any(b"$x$.npz</text>" in figure.file for figure in page.blocks(Picture))  # not as a formula
    outside_code = re.sub(r"(?s)(`{3,})bash\n.*?\n\1", "", render_markdown(page, tmp_path, "figures"))
    assert "<" not in outside_code
    assert "](javascript" not in outside_code.replace("\\]", "")


def test_large_videos_are_named_instead_of_shown(tmp_path):
    gif = GIF + bytes(3_000_000)
    write_run(tmp_path / "run", DAGGER, {0: [1, 2], 2: [3, 4]}, videos=[0, 1, 2], gif=gif)
    write_run(tmp_path / "bc", BC, {0: [1, 2]}, videos=[0], gif=gif)
    text = render_html(page_of(tmp_path))
    assert len(text.encode()) < 10_000_000
    elements = Elements(text)
    shown = [attributes["alt"] for attributes in elements.named("img")]
    assert [alt.rpartition(", ")[2] for alt in shown] == ["iteration 0", "iteration 2"]  # each variant's last
    assert str(tmp_path / "run" / "videos" / "eval_rollouts_itr_0.gif") in "".join(elements.texts)


def test_the_markdown_has_the_same_content(page, tmp_path):
    text = render_markdown(page, tmp_path, "report_figures")
    lines = text.splitlines()
    assert lines[0] == "# What &lt;came&gt; out"
    assert [line[3:] for line in lines if line.startswith("## ")] == [section.title for section in page.sections]
    for picture in page.blocks(Picture):
        assert f"](report_figures/{picture.name}.svg)" in text
    assert text.count("\n|--") == len(page.blocks(Table))
    assert re.search(r"\| BC, val_fraction 0 +\| +15\.0 \|", text)
    assert page.blocks(Commands)[0].lines[0] in lines


def test_code_stays_code_in_both():
    page = Report("t", "lead", [Section("A b!", [Text("say `--x <y>` & <z>"), Note("`a`")])])
    text, markdown = render_html(page), render_markdown(page, None, "f")
    assert "say <code>--x &lt;y&gt;</code> &amp; &lt;z&gt;" in text
    assert '<h2 id="a-b">' in text
    assert "say `--x <y>` &amp; &lt;z&gt;" in markdown
    assert "> **Note:** `a`" in markdown


def luminance(colours) -> np.ndarray:
    channels = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize(("theme", "background"), [(LIGHT, BACKGROUNDS[0]), (DARK, BACKGROUNDS[1])])
def test_every_line_has_enough_contrast(theme, background):
    assert len(theme) == len({*theme}) == len(COLOURS)
    contrast = (luminance(theme) + 0.05) / (luminance([background]) + 0.05)
    assert np.maximum(contrast, 1 / contrast).min() >= 3


def test_the_figures_take_the_pages_colours(text):
    for i, colour in enumerate(COLOURS, start=1):
        assert f"--c{i}: {LIGHT[i - 1]}" in text and f"--c{i}: {DARK[i - 1]}" in text
        assert text.count(f"var(--c{i}, {colour})") == text.count(colour) - (LIGHT[i - 1] == colour)
    assert "#101214" not in text


def test_the_same_runs_give_the_same_bytes(folder, tmp_path):
    runs = find_runs([folder / "dagger_1"])
    out, contents = tmp_path / "new" / "page.html", []
    for _ in range(2):
        write_report(runs, out, tmp_path, "A title", random=False, assignment=False)
        contents.append({path.name: path.read_bytes() for path in out.parent.rglob("*") if path.is_file()})
    first, second = contents
    assert first == second
    svgs = {name for name in first if name.endswith(".svg")}
    assert {*first} - svgs == {"page.html", "page.md"}
    assert len(svgs) == first["page.md"].count(b"](page_figures/")
    assert b"A title" in first["page.html"]
    for name in svgs:
        xml.dom.minidom.parseString(first[name])


def test_without_a_path_it_goes_into_a_new_folder(tmp_path):
    write_run(tmp_path / "run", BC, {0: [1, 2]}, expert=[])
    runs = find_runs([tmp_path])
    for name in ("report", "report_2"):
        write_report(runs, None, tmp_path / "data" / "report", None, random=False, assignment=False)
        assert (tmp_path / "data" / name / "report.html").exists()


def test_a_record_of_the_wrong_kind_does_no_harm(tmp_path):
    folder = write_run(tmp_path / "run", BC, {0: [1, 2]}, versions="new", defaults=[1], platform=None)
    record = json.loads((folder / "config.json").read_text())
    del record["command_line"], record["git_commit"]
    (folder / "config.json").write_text(json.dumps(record))
    assert page_of(tmp_path).blocks(Commands)[0].lines == [command_of(BC)]


def test_a_run_that_was_really_made(tmp_path):
    settings = {"n_iter": 2, "num_agent_train_steps_per_iter": 5, "batch_size": 20, "n_demos": 1, "size": 8}
    settings |= {"ep_len": 20, "eval_episodes": 2, "val_fraction": 0.2, "logdir": str(tmp_path / "run")}
    run(RunConfig(env_name="MountainCar-v0", do_dagger=True, **settings), ["python", "x.py"], verbose=False)
    write_report(find_runs([tmp_path]), tmp_path / "page.html", tmp_path, None, random=True, assignment=False)
    elements = Elements((tmp_path / "page.html").read_text())
    assert len(elements.named("figure")) == 5  # every return and every length is the same
    assert len(elements.named("img")) == 2
    links = re.findall(r"\]\(([^)]+)\)", (tmp_path / "page.md").read_text())
    assert len(links) == 7 and all((tmp_path / link).is_file() for link in links)
