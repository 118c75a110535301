"""The page of the datasets says what the tables in the code say."""

import re
from pathlib import Path

import rl_il.datasets
from rl_il.datasets.formats import FORMATS
from rl_il.datasets.names import NAMES
from rl_il.datasets.pickles import WAYS_OUT
from rl_il.datasets.writing import WRITERS

PAGE = (Path(rl_il.datasets.__file__).parent / "README.md").read_text()


def rows_under(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table under a heading by their first cell, without the header."""
    text = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.M)]
    return {row[0]: row[1:] for row in rows[2:]}


def in_code(text: str) -> str:
    return f"`{text}`" if text else ""


def test_the_table_of_formats_has_every_format_its_extra_and_what_is_lost():
    rows = rows_under("Formats")
    assert {*rows} == {each.name for each in FORMATS}
    for each in FORMATS:
        _, _, extra, lost = rows[each.name]
        assert extra == in_code(each.extra), each.name
        assert lost in {other.lost for other in FORMATS if other.name == each.name}


def test_the_table_of_names_has_every_name():
    names = {meaning.replace(" ", "_"): re.findall("`(.+?)`", row[0]) for meaning, row in rows_under("Names").items()}
    ours = {meaning: [meaning] for meaning, known in NAMES.items() if known == (meaning,)}  # in the text
    assert names | ours == {meaning: [*known] for meaning, known in NAMES.items()}
    assert all(in_code(meaning) in PAGE for meaning in ours)


def test_the_page_has_the_lines_that_convert_what_is_refused():
    commands = [re.search("python -c .*", text)[0] for text in WAYS_OUT.values()]
    assert [command for command in commands if in_code(command) not in PAGE] == []


def test_the_table_of_writers_has_every_format_its_extra_and_what_is_lost():
    expected = {name: [in_code(writer.extra), writer.lost] for name, writer in WRITERS.items()}
    assert {name: row[1:] for name, row in rows_under("Writing").items()} == expected


def test_every_extra_can_be_installed():
    setup = (Path(rl_il.datasets.__file__).parents[2] / "setup.py").read_text()
    for extra in {each.extra for each in FORMATS} | {writer.extra for writer in WRITERS.values()} - {""}:
        assert f'"{extra}": [' in setup or not extra


def test_the_page_is_short():
    assert PAGE.count("\n") <= 140
