"""The report as Markdown and as JSON."""

import json
import re

from einsearch.report.markdown import to_json, write_markdown

from .conftest import BUDGET, RUNGS, SETTING


def test_the_table_has_a_row_a_leader_and_dense(full):
    lines = write_markdown(full).splitlines()
    assert lines[0] == "# tiny"
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    assert {len(row) for row in rows} == {14}
    assert [row[1].strip() for row in rows[2:]] == [
        "BTT rank 1", "Kronecker", "BTT rank d^0.25", "Low rank d^0.5", "Dense, same FLOPs",
    ]  # fmt: skip
    assert [cell.strip() for cell in rows[2][10:13]] == ["1.50", rows[2][11].strip(), "1"]
    assert rows[2][2].strip() == r"(0.5\|0\|0.5\|0\|0.5\|0.5\|0)"


def test_a_study_without_leaders_has_no_table(recorder):
    assert write_markdown(recorder.data()) == (
        "# tiny\n\nNo candidate completed a rung: 0 candidates were begun, 0 % of the budget is used.\n"
    )


def test_text_from_outside_stays_text(recorder):
    recorder.search(label="<b>x</b> | `y`\nz")
    text = write_markdown(recorder.data())
    assert r"\<b\>x\</b\> \| \`y\` z" in text
    assert "<b>" not in text


def test_json_has_it_all(full):
    found = to_json(full)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["study"], found["state"], found["seconds"]) == ("tiny", "finished", 125.0)
    assert found["rungs"] == list(RUNGS)
    assert found["budget"]["total"] == BUDGET == sum(found["budget"]["parts"].values())
    assert [leader["rank"] for leader in found["leaders"]] == [1, 2, 3, 4]
    assert found["leaders"][0]["multiplier_bound"] == "exact"
    assert found["dense"]["width"] in (16, 32)
    assert len(found["trials"]) == 8
    assert found["protocol"] == SETTING.to_json()


def test_json_of_an_empty_study(recorder):
    found = to_json(recorder.data())
    assert (found["leaders"], found["dense"], found["frontier"], found["trials"]) == ([], None, [], [])
