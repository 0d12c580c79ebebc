"""`einsearch report`: the report of a study, from the store alone."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from einsearch.cli.options import RunsOption, StoreOption, console, latest_study, print_json
from einsearch.errors import EinsearchError
from einsearch.report.html import write_html
from einsearch.report.markdown import to_json, write_markdown
from einsearch.report.study_data import read_study
from einsearch.search.study import RUNS, default_store_url


class Format(StrEnum):
    """How a report is written."""

    html = "html"
    md = "md"
    json = "json"


def report(
    study: Annotated[
        str | None, typer.Argument(help="Name of the study; by default the latest.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write to; by default the study's.")
    ] = None,
    format: Annotated[Format, typer.Option(help="html is a file; md and json are printed without -o.")] = Format.html,
    store: StoreOption = None,
    runs: RunsOption = RUNS,
) -> None:
    """Write a study's report; it needs no training and no network."""
    url = store or default_store_url(runs)
    data = read_study(url, study or latest_study(url).name)
    folder = output or runs / data.study.name
    if format is Format.html:
        console().print(f"Report: {write_html(data, folder / 'report.html')}", soft_wrap=True)
    elif format is Format.md:
        text = write_markdown(data)
        if output is None:
            typer.echo(text)
        else:
            _write(folder / "report.md", text)
    elif output is None:
        print_json(to_json(data))
    else:
        _write(folder / "report.json", json.dumps(to_json(data), indent=2))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EinsearchError(f"cannot write the report to {path}: {error.strerror}; give another path") from error
