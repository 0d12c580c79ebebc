"""What Optuna and optuna-dashboard read of a store, and that they cannot write."""

import json
import re

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import get_note

from einsearch.dashboard.figures import FIGURES, HEIGHT
from einsearch.dashboard.pages import application
from einsearch.dashboard.view import Note
from einsearch.report.text import flops_text
from einsearch.space.candidate import Candidate
from einsearch.space.parse import parse
from einsearch.store import Store


def ask(app, path, query="", method="GET", **headers):
    """Status, headers and body of an answer."""
    told = {}
    environment = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "here",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        **headers,
    }
    parts = app(environment, lambda status, headers, *_: told.update(status=status, headers=dict(headers)))
    body = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    return told["status"], told["headers"], body


def test_a_candidate_is_a_trial_with_the_numbers_of_the_store(shown):
    study = optuna.load_study(study_name="tiny", storage=shown.view)
    stored = {curve.trial.number: curve for curve in shown.store.curves(shown.study.id)}
    candidates = [number for number, curve in stored.items() if curve.trial.kind == "search"]
    assert [trial.number for trial in study.trials] == candidates
    assert len(candidates) == 4
    for trial in study.trials:
        curve = stored[trial.number]
        assert trial.state is TrialState.COMPLETE
        assert trial.params == curve.trial.suggestion["params"]
        assert trial.value == trial.intermediate_values[1]
        assert trial.user_attrs["validation loss"] == curve.losses[-1][1]
        assert trial.user_attrs["state"] == "complete"
        assert trial.datetime_start < trial.datetime_complete
    assert study.best_trial.value == max(trial.value for trial in study.trials)
    assert shown.study.best.frozen == study.best_trial
    assert study.metric_names == ["compute multiplier"]


def test_a_note_says_what_the_store_has(shown):
    study = optuna.load_study(study_name="tiny", storage=shown.view)
    kronecker = next(c for c in shown.store.curves(shown.study.id) if c.trial.label == "Kronecker")
    trial = next(trial for trial in shown.study.trials if trial.id == kronecker.trial.id)
    note = get_note(optuna.trial.Trial(study, trial.id))
    assert note == trial.note.body
    _, loss = kronecker.losses[-1]
    plain = re.sub(r"[\\*\u2003]", "", note)
    for said in (
        "## Kronecker\n", "| state | complete |", "| θ | (0.5|0.5|0|0.5|0.5|0|0) |", "| family | Kronecker |",
        "| ω, ψ, ν | 0.5, 1, 0.5 |", "| model | width 16, depth 1 |", f"{kronecker.trial.parameters:,}",
        f"{loss:.4f}", f"{kronecker.tokens_per_second:,.0f} tokens/s", f"`einsearch show {kronecker.trial.key} --study",
        "| down | a8 b8 d4 e4 |", "| step | FLOPs | training loss |",
    ):  # fmt: skip
        assert said in plain, said
    evaluated = [point for point in kronecker.points if point.validation_loss is not None]
    rows = [line for line in plain.splitlines() if f"| {evaluated[0].step} |" in line]
    assert len(rows) == 1
    assert f"{evaluated[0].validation_loss:.4f}" in rows[0]
    for picture in trial.pictures:
        assert f"(/artifacts/{shown.study.id}/{trial.id}/{picture.id})" in note


def test_text_from_outside_stays_text(shown):
    """A failure's reason may hold anything; the numbers of its columns stay right."""
    with shown.store._write() as connection:
        connection.exec_driver_sql(
            "UPDATE es_trial SET state = 'failed', reason = ? WHERE number = 2",
            ("a | b\n<img src=x> ![x](http://elsewhere/x.png)",),
        )
        connection.exec_driver_sql("UPDATE es_study SET seconds = seconds + 1")
    assert shown.refresher.refresh()
    trial = next(trial for trial in shown.study.trials if trial.frozen.number == 2)
    assert trial.frozen.state is TrialState.FAIL
    assert trial.frozen.value is None
    assert "a \\| b \\<img src=x\\> !\\[x\\](http://elsewhere/x.png)" in trial.note.body


def test_the_study_note_lists_leaders_and_dense_runs(shown):
    note = get_note(optuna.load_study(study_name="tiny", storage=shown.view)).replace("\u2003", "")
    assert "| rank | trial | structure |" in note
    assert note.count("/trials?numbers=") == 4
    (dense,) = (c for c in shown.store.curves(shown.study.id) if c.trial.kind == "ladder")
    flops = flops_text(dense.trial.flops_done)
    assert f"| 0 | Dense | 16 | complete | {flops} | {dense.losses[-1][1]:.4f} |" in note
    assert "| state | finished |" in note
    assert "Interrupted" not in note


def test_figures_fit_their_place_and_have_titles(shown):
    assert list(shown.study.figures) == list(FIGURES)
    for name, text in shown.study.figures.items():
        layout = json.loads(text)["layout"]
        assert layout["height"] == HEIGHT
        assert FIGURES[name][0] in layout["title"]["text"]
    loss = [trace["name"] for trace in json.loads(shown.study.figures["loss"])["data"]]
    assert "dense frontier" in loss
    assert "dense runs, by width" in loss


def test_the_quick_answer_is_that_of_optuna_dashboard(shown):
    from optuna_dashboard import wsgi

    app, slow = application(shown.view), wsgi(shown.view)
    path = f"/api/studies/{shown.study.id}"
    for query in ("", "after=0", "after=2", "after=9"):
        status, _, body = ask(app, path, query)
        expected = json.loads(ask(slow, path, query)[2])
        found = json.loads(body)
        for answer in (found, expected):
            for name in ("union_search_space", "intersection_search_space"):
                answer[name] = sorted(answer[name], key=lambda parameter: parameter["name"])
            answer["union_user_attrs"].sort(key=lambda attribute: attribute["key"])
            answer["plotly_graph_objects"].sort(key=lambda figure: figure["id"])
        assert status == "200 OK"
        assert found == expected, query
    assert len(expected["trials"]) == 0
    status, headers, body = ask(app, path, HTTP_ACCEPT_ENCODING="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert len(body) < 100_000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/api/studies/1", "403 Forbidden"),
        ("POST", "/api/studies", "403 Forbidden"),
        ("PUT", "/api/studies/1/note", "403 Forbidden"),
        ("GET", "/api/studies/99", "404 Not Found"),
        ("GET", "/artifacts/1/2/00000000", "404 Not Found"),
        ("GET", "/api/studies/1/param_importances", "200 OK"),
        ("GET", "/api/studies/1/plot/timeline", "200 OK"),
        ("GET", "/csv/1", "200 OK"),
    ],
)
def test_pages_show_and_change_nothing(shown, method, path, status):
    before = shown.study
    assert ask(application(shown.view), path, method=method)[0] == status
    assert shown.study is before


def test_a_strange_question_is_answered_in_one_line(shown):
    status, _, body = ask(application(shown.view), f"/api/studies/{shown.study.id}", "after=x")
    assert (status, json.loads(body)) == ("400 Bad Request", {"reason": "`after` is no number of trials"})


def test_optuna_cannot_write(shown):
    study = optuna.load_study(study_name="tiny", storage=shown.view)
    with pytest.raises(TypeError, match="can only be read"):
        study.ask()
    with pytest.raises(TypeError, match="can only be read"):
        study.set_user_attr("a", 1)
    with pytest.raises(TypeError, match="can only be read"):
        optuna.delete_study(study_name="tiny", storage=shown.view)


def test_pictures_are_drawn_when_asked_for_and_kept(shown, tmp_path):
    app, trial = application(shown.view), shown.study.trials[0]
    folder = tmp_path / "runs" / "tiny" / "dashboard"
    assert not folder.exists()
    assert [picture.name for picture in trial.pictures] == ["structure.svg", "curve.svg"]
    for picture in trial.pictures:
        path = f"/artifacts/{shown.study.id}/{trial.id}/{picture.id}"
        status, headers, body = ask(app, path)
        assert (status, headers["Content-Type"]) == ("200 OK", "image/svg+xml")
        assert body.startswith(b"<?xml")
        assert picture.path.read_bytes() == body
        picture.path.write_bytes(b"kept")
        assert ask(app, path)[2] == b"kept"
    (folder / "curve-0001-old.svg").touch()
    trial.pictures[1].path.unlink()
    ask(app, f"/artifacts/{shown.study.id}/{trial.id}/{trial.pictures[1].id}")
    assert sorted(folder.iterdir()) == sorted(picture.path for picture in trial.pictures)


def test_only_what_changed_is_made_anew(shown):
    before = shown.study
    assert not shown.refresher.refresh()
    assert shown.study is before
    with Store.open(shown.store.url) as writer:
        epoch = writer.acquire_lease(before.id, owner="host:1:0", alive=lambda _owner: None)
        writer.set_study_state(before.id, epoch, "stopped", seconds=1.0)
    assert shown.refresher.refresh()
    after = shown.study
    assert after.facts == {"state": "stopped"}
    assert after.note.version == before.note.version + 1
    assert all(new is old for new, old in zip(after.trials, before.trials, strict=True))


def test_a_paused_trial_runs_until_its_study_ends(shown):
    with shown.store._write() as connection:
        connection.exec_driver_sql("UPDATE es_trial SET state = 'paused', rung = 0 WHERE number = 3")
    writer = shown.store
    epoch = writer.acquire_lease(shown.study.id, owner="host:1:0", alive=lambda _owner: None)
    for state, expected in (("running", TrialState.RUNNING), ("stopped", TrialState.PRUNED)):
        writer.set_study_state(shown.study.id, epoch, state, seconds=1.0)
        shown.refresher.refresh()
        trial = next(trial for trial in shown.study.trials if trial.frozen.number == 3)
        assert trial.frozen.state is expected
        assert trial.frozen.user_attrs["state"] == "paused at rung 0"
        assert "**paused at rung 0** of 0 to 1" in trial.note.body
    assert trial.frozen.value == trial.frozen.intermediate_values[0]


def test_a_study_without_its_driver_is_interrupted(shown):
    epoch = shown.store.acquire_lease(shown.study.id, owner="host:1:0", alive=lambda _owner: None)
    shown.store.set_study_state(shown.study.id, epoch, "running", seconds=1.0)
    with shown.store._write() as connection:
        connection.exec_driver_sql("UPDATE es_lease SET heartbeat_at = heartbeat_at - 100")
    shown.refresher.refresh()
    assert "**Interrupted:** its driver has been silent for 90 s; `einsearch resume tiny` goes on." in (
        shown.study.note.body
    )
    assert shown.study.facts == {"state": "interrupted"}


def test_a_study_that_is_deleted_is_shown_no_more(shown):
    shown.store.delete_study("tiny")
    assert shown.refresher.refresh()
    assert shown.view.get_all_studies() == []
    assert not shown.refresher.refresh()


def test_beyond_the_limit_it_is_said_once_and_in_the_note(shown, monkeypatch):
    monkeypatch.setattr("einsearch.dashboard.study_note.MOST_TRIALS", 3)
    assert shown.refresher.warnings == []
    epoch = shown.store.acquire_lease(shown.study.id, owner="host:1:0", alive=lambda _owner: None)
    for state in ("stopped", "finished"):
        shown.store.set_study_state(shown.study.id, epoch, state, seconds=1.0)
        assert shown.refresher.refresh()
    warning = "tiny has 4 candidates; beyond 3 these pages are slow. Its report stays quick: einsearch report tiny"
    assert shown.refresher.warnings == [warning]
    assert f"**{warning}**" in shown.study.note.body


def test_every_structure_of_a_candidate_is_drawn(shown):
    shape = Candidate.from_json(shown.store.trials(shown.study.id)[1].candidate).shape
    sites = {"attention": parse("btt"), "ffn": parse("low-rank(1/2)")}
    candidate = json.dumps(Candidate.of_sites(sites, shape).to_json())
    with shown.store._write() as connection:
        connection.exec_driver_sql("UPDATE es_trial SET candidate = ? WHERE number = 1", (candidate,))
        connection.exec_driver_sql("UPDATE es_study SET seconds = seconds + 1")
    shown.refresher.refresh()
    trial = shown.study.trials[0]
    names = ["structure of attention", "structure of ffn", "curve"]
    assert [picture.name for picture in trial.pictures] == [f"{name}.svg" for name in names]
    assert all(f"![{name}](/artifacts/" in trial.note.body for name in names)
    assert len({picture.draws() for picture in trial.pictures}) == 3


def test_a_version_grows_with_the_text_alone():
    first = Note("a")
    assert Note("a").replacing(first) is first
    assert Note("b").replacing(first) == Note("b", 2)
