"""einsearch bench driver: a small simulated study through the command line, and what is said of it afterwards."""

import json

import pytest

from einsearch.store import Store

SMALL = ("bench", "driver", "--sampler", "random")
MADE_UP = "Simulated: nothing was trained, the losses are made up"


def test_hundreds_of_trials_with_their_books(cli, tmp_path):
    answer = cli(*SMALL, "--workers", 50, "--trials", 250, "--store", "sqlite:///s.db", "--keep", "--json", "a.json")
    assert (answer.code, answer.err) == (0, "")
    assert "Simulated: nothing is trained, and losses are made up." in answer.out
    assert answer.out.splitlines()[-1] == "Results: a.json"

    document = json.loads((tmp_path / "a.json").read_text())
    assert document["simulated"] is document["finished"] is True
    assert document["load"]["workers"] == 50
    assert document["trials"] > 150
    assert document["segments"] > document["trials"]
    assert document["segments_per_second"] == pytest.approx(document["segments"] / document["seconds"])
    assert document["audit"]["violations"] == []
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        (row,) = store.studies()
        assert store.audit(row.id).violations == ()
        assert len(store.segments(row.id)) == document["segments"]
    assert row.spent + row.lost + row.reserved <= row.budget

    store_option = ("--store", "sqlite:///s.db")
    assert "finished, simulated" in cli("status", *store_option).out
    assert json.loads(cli("status", "--json", *store_option).out)[0]["simulated"] is True
    assert MADE_UP in cli("report", row.name, "--format", "md", *store_option).out
    report = json.loads(cli("report", row.name, "--format", "json", *store_option).out)
    assert report["simulated"] is True
    assert report["finding"].startswith(MADE_UP)
    assert cli("report", row.name, "-o", "page", *store_option).code == 0
    assert MADE_UP in (tmp_path / "page" / "report.html").read_text()
    refused = cli("resume", row.name, *store_option)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        f"einsearch: study '{row.name}' is simulated: it cannot be trained; choose another --study\n"
    )
    again = cli(*SMALL, "--workers", 50, "--trials", 250, *store_option)
    assert again.code == 2
    assert "already exists" in again.err


def test_the_study_is_removed_unless_it_shall_stay(cli, tmp_path):
    answer = cli(*SMALL, "--workers", 2, "--trials", 5, "--store", "sqlite:///s.db", "--segment-seconds", 0.01)
    assert answer.code == 0
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        assert store.studies() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", 0), "workers is 0; it must be at least 1"),
        (("--trials", 0), "trials is 0; it must be at least 1"),
        (("--segment-seconds", "-1"), "segment-seconds is -1; it must lie in 0 to 3600"),
        (("--keep",), "--keep leaves the study in a store; give --store too"),
        (("--sampler", "best"), "unknown sampler 'best'; known: tpe, random, gp, nsga2"),
        (("--json", "nowhere/a.json"), "cannot write the results to nowhere/a.json: there is no folder nowhere"),
    ],
)
def test_what_cannot_be_simulated(cli, tmp_path, arguments, message):
    answer = cli("bench", "driver", *arguments)
    assert answer.code == 2
    assert answer.err.startswith(f"einsearch: {message}")
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_other_benchmarks_are_as_they_were(cli):
    assert "driver" in cli("bench", "--help").out
    assert "--segment-seconds" in cli("bench", "driver", "--help").out
    refused = cli("bench", "divers")
    assert refused.code == 2
    assert "divers" in refused.err
