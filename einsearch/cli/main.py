"""The command line: one file a command, thin over the library. A command is imported when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from einsearch.errors import EinsearchError

COMMANDS = {
    "run": "Search for structures that beat dense, within a FLOP budget. The same command continues its study.",
    "status": "Say how the studies of a store stand; with a name, what that one is doing.",
    "resume": "Continue a stopped study from its checkpoints; with --budget, extend it.",
    "submit": "Send `einsearch run` with all further arguments to the head of a Ray cluster, and follow it.",
    "attach": "Follow the output of a submitted study, from its beginning; Ctrl-C detaches.",
    "stop": "Ask a submitted study to stop: running trials write checkpoints, and submitting it again continues it.",
    "report": "Write a study's report; it needs no training and no network.",
    "dashboard": "Show studies in optuna-dashboard with notes, pictures and figures, also while they run.",
    "show": "Show a trial: structure, sizes, costs, curve, what it ran on and how it ended.",
    "export": "Write a trial to a folder: its structures, its trained weights and how to use them.",
    "train": "Train one candidate and print its curve. The same command continues an interrupted one.",
    "bench": "Time the implementations of layers beside nn.Linear, or training steps of models beside dense.",
    "clean": "Remove a study from the store with its files; studies that run are refused.",
    "doctor": "Check this machine, the store with its studies and a cluster, and say how to mend what is wrong.",
    "db": "Make, upgrade, check and copy the SQL store.",
    "enumerate": "List every irreducible structure of so many factors, each once.",
    "analyze": "Say what an einsum is: taxonomy, families, costs, rank, exactly.",
    "draw": "Draw a structure: as text, or as a picture of its diagram and its matrices.",
    "atlas": "Write an interactive page of the (omega, psi, nu) space of two factors.",
    "space": "Describe a search space: its parameters, what part of it is valid, samples.",
}
"""Name of each command, its module and its function, and the first line of its help."""

SETTINGS = {"submit": {"allow_extra_args": True, "ignore_unknown_options": True}}
"""Of commands that pass on what they do not know."""

WITHIN = {"bench": {"driver": "bench_driver"}}
"""Commands within a command, which also runs alone: name, and module and function."""


def _function(name: str) -> Any:
    return getattr(import_module(f"einsearch.cli.{name}"), name)


class _Commands(TyperGroup):
    """Imports the module of a command when that is asked for: most need no torch, and start at once."""

    summaries = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if self.summaries:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name])
        command = _function(cmd_name)
        if isinstance(command, typer.Typer):  # a group of commands
            return typer.main.get_command(command)
        single = typer.Typer(name=cmd_name, add_completion=False, pretty_exceptions_enable=False)
        if within := WITHIN.get(cmd_name):
            single.callback(invoke_without_command=True)(command)
            for name, module in within.items():
                single.command(name=name)(_function(module))
        else:
            single.command(name=cmd_name, context_settings=SETTINGS.get(cmd_name))(command)
        return typer.main.get_command(single)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, from the table above."""
        self.summaries = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self.summaries = False


_UsageError: Any = typer.BadParameter.__mro__[1]
"""What Typer raises for an unknown command or option, or a value of the wrong kind."""

app = typer.Typer(
    name="einsearch",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def einsearch() -> None:
    """Search for linear layers that reach a lower loss than dense ones for the same training compute."""


def main() -> None:
    """Run a command; input that a person can mend ends in one line and exit code 2."""
    try:
        sys.exit(app(standalone_mode=False, prog_name="einsearch"))
    except EinsearchError as error:
        _complain(str(error))
    except _UsageError as error:
        # Without arguments the help has been printed, and there is nothing to add.
        if message := error.format_message().rstrip("."):
            _complain(f"{message}; see `{error.ctx.command_path if error.ctx else 'einsearch'} --help`")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output has enough of it, as `head` does; nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _complain(message: str) -> NoReturn:
    sys.stderr.write(f"einsearch: {' '.join(message.split())}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
