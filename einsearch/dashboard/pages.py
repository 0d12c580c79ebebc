"""The web application: optuna-dashboard over a view, read-only, and quick with many trials."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from einsearch.dashboard.pictures import Pictures
from einsearch.dashboard.view import ShownStudy, ShownTrial, StoreView
from einsearch.errors import EinsearchError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

INSTALL = "pip install 'einsearch[dashboard]'"

_STUDY = re.compile(r"/api/studies/(\d+)/?")
_READ_ONLY = json.dumps({"reason": "this dashboard only shows the store; nothing can be changed here"}).encode()


def application(view: StoreView) -> WSGIApplication:
    """The dashboard of a view. Raises EinsearchError where optuna-dashboard is not installed."""
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise EinsearchError(f"the dashboard needs optuna-dashboard ({error}): {INSTALL}") from None
    dashboard = wsgi(view, artifact_store=Pictures(view.picture))
    details = StudyDetails()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _respond(environ, start_response, "403 Forbidden", _READ_ONLY)
        found = _STUDY.fullmatch(environ["PATH_INFO"])
        study = view.shown(int(found[1])) if found else None
        if study is None:
            return dashboard(environ, start_response)
        after = parse_qs(environ.get("QUERY_STRING", "")).get("after", ["0"])[0]
        if not after.isdecimal():
            return _respond(environ, start_response, "400 Bad Request", b'{"reason": "`after` is no number of trials"}')
        return _respond(environ, start_response, "200 OK", details.json(study, int(after)))

    return answer


def _respond(environ: WSGIEnvironment, start_response: StartResponse, status: str, body: bytes) -> Iterable[bytes]:
    headers = [("Content-Type", "application/json")]
    if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "") and len(body) > 1000:
        body = gzip.compress(body, compresslevel=1)
        headers.append(("Content-Encoding", "gzip"))
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


class StudyDetails:
    """What a page asks for every few seconds: a study with all its trials and notes, as JSON.

    optuna-dashboard's own answer looks through the notes of all trials for each of them: at 2,000 trials it
    takes ten seconds. This one is the same, made of trials that are put into JSON once.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[ShownTrial, bytes]] = {}

    def json(self, study: ShownStudy, after: int = 0) -> bytes:
        """The study, with its trials from position `after` on."""
        from optuna_dashboard._serializer import serialize_study_detail

        space = sorted(study.parameters.items())
        head: dict[str, Any] = serialize_study_detail(
            study=study.frozen_alone,
            best_trials=[],
            trials=[],
            intersection=space,
            union=space,
            union_user_attrs=sorted(study.attribute_kinds.items()),
            has_intermediate_values=any(trial.frozen.intermediate_values for trial in study.trials),
            plotly_graph_objects=dict(study.figures),
            skipped_trial_numbers=[],
        )
        lists = {"trials": study.trials[after:], "best_trials": [study.best] if study.best else []}
        parts = [
            b'"%s": [%s]' % (name.encode(), b", ".join(self._trial(study, trial) for trial in trials))
            for name, trials in lists.items()
        ]
        rest = json.dumps({name: value for name, value in head.items() if name not in lists}).encode()
        return b"{%s, %s" % (b", ".join(parts), rest[1:])

    def _trial(self, study: ShownStudy, trial: ShownTrial) -> bytes:
        from optuna_dashboard._serializer import serialize_frozen_trial

        made = self._made.get(trial.id)
        if made is None or made[0] is not trial:
            shown = serialize_frozen_trial(study.id, trial.frozen, trial.note.attributes(trial.id))
            text = json.dumps(shown, ensure_ascii=False)
            made = self._made[trial.id] = (trial, text.encode())
        return made[1]
