"""The command line: one file a command, thin over the library."""

from __future__ import annotations

import sys

import typer

from einsearch.cli.clean import clean
from einsearch.cli.report import report
from einsearch.cli.resume import resume
from einsearch.cli.run import run
from einsearch.cli.show import show
from einsearch.cli.status import status
from einsearch.cli.train import train
from einsearch.errors import EinsearchError

app = typer.Typer(
    name="einsearch",
    help="Search for linear layers that reach a lower loss than dense ones for the same training compute.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (run, status, resume, report, show, train, clean):
    app.command()(command)


def main() -> None:
    """Run a command; input that a person can mend ends in one line and exit code 2."""
    try:
        app()
    except EinsearchError as error:
        sys.stderr.write(f"einsearch: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
