"""`einsearch db`: the SQL store itself. Passwords in URLs are never printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import typer

from einsearch.cli.options import console
from einsearch.errors import EinsearchError
from einsearch.search.whereabouts import RUNS, default_store_url, is_alive
from einsearch.store import Store, StudyRow
from einsearch.store.check import optuna_tables, schema_faults
from einsearch.store.copy import copy_studies
from einsearch.store.migrate import bring_to_head, revisions

db = typer.Typer(
    name="db",
    help="Make, upgrade, check and copy the SQL store.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StoreArgument = Annotated[
    str | None,
    typer.Argument(
        help="sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE; EINSEARCH_STORE, else sqlite in runs.",
        show_default=False,
    ),
]


@db.command()
def init(store: StoreArgument = None) -> None:
    """Make the tables, Optuna's too, in an empty database; those that are there are kept.

    Do this once before several processes or machines begin with a new database.
    """
    from einsearch.search.optuna_storage import make_tables

    url = store or default_store_url(RUNS)
    with Store.open(url) as opened:
        make_tables(url)
        console().print(f"{opened.url}: schema {revisions(opened)[1]}, ready", soft_wrap=True)


@db.command()
def upgrade(store: StoreArgument = None) -> None:
    """Bring the tables of an older einsearch, and those of an older Optuna, up to date."""
    from einsearch.search.optuna_storage import upgrade_tables

    url = store or default_store_url(RUNS)
    with Store.as_it_is(url) as opened:
        before, head = revisions(opened)
        if before is None:
            raise EinsearchError(f"there is no store at {opened.url} yet; `einsearch db init` makes one")
        bring_to_head(opened, create=True)
        out = console()
        done = "is up to date" if before == head else f"was upgraded from {before}"
        out.print(f"{opened.url}: schema {head} {done}", soft_wrap=True)
        if optuna_tables(opened) and upgrade_tables(url):
            out.print("Optuna's tables were upgraded too")


@db.command()
def check(store: StoreArgument = None) -> None:
    """Check the tables, and add up the books of every study; exit code 1 where something is wrong."""
    url = store or default_store_url(RUNS)
    out = console()
    with Store.as_it_is(url) as opened:
        faults = schema_faults(opened)
        out.print(f"{opened.url}: schema {revisions(opened)[0] or 'none'}", soft_wrap=True)
        for fault in faults:
            out.print(f"schema: {fault}", soft_wrap=True)
        wrong = len(faults)
        if not wrong:  # else the rows could not even be read
            for row in opened.studies():
                violations = opened.audit(row.id).violations
                wrong += len(violations)
                out.print(f"study {row.name}: {row.state}, {_counts(opened, row)}", soft_wrap=True)
                for violation in violations:
                    out.print(f"study {row.name}: {violation}", soft_wrap=True)
    if wrong:
        out.print(f"{wrong} {'fault' if wrong == 1 else 'faults'}")
        raise typer.Exit(1)
    out.print("all in order")


@db.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="URL of the store that has the studies.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="URL of the store to copy to; made if it is missing.")],
    study: Annotated[str | None, typer.Option(help="Name of the one study to copy; by default all.")] = None,
) -> None:
    """Copy studies between stores, SQLite or PostgreSQL: all of them or none.

    The source stays as it is. A study that is being run, or whose name the target has, is refused. Checkpoints and
    reports are files: they stay where they are, and the copy names the same ones.
    """
    from einsearch.search.mirror import rebuild_mirror

    out = console()
    with Store.open(source, create=False) as giving:
        if study is not None:
            giving.study(study)  # before anything is made in the target
        with Store.open(target) as taking:
            if giving.url == taking.url:
                raise EinsearchError(f"{giving.url} is both source and target; give two stores")
            names = copy_studies(giving, taking, [study] if study is not None else None, alive=is_alive)
            for name in names:
                row = taking.study(name)
                if taking.audit(row.id).violations != giving.audit(giving.study(name).id).violations:
                    raise RuntimeError(f"the copy of study {name!r} differs from the original")
                out.print(f"study {name}: {_counts(taking, row)} copied to {taking.url}", soft_wrap=True)
        if not names:
            out.print(f"{giving.url} has no study yet", soft_wrap=True)
    for name in names:
        rebuild_mirror(target, name)


def _counts(store: Store, row: StudyRow) -> str:
    segments = Counter(segment.state for segment in store.segments(row.id))
    return ", ".join(_amounts(len(store.trials(row.id)), segments))


def _amounts(trials: int, segments: Counter[str]) -> Iterator[str]:
    yield f"{trials} {'trial' if trials == 1 else 'trials'}"
    for state in ("done", "lost", "reserved"):
        if segments[state] or state == "done":
            yield f"{segments[state]} {'segment' if segments[state] == 1 else 'segments'} {state}"
