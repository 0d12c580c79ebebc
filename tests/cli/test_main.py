"""The list of commands is what there is; a command imports what it needs; misuse is one line."""

import inspect
import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

import einsearch
from einsearch.cli.main import COMMANDS

WITHOUT_TORCH = (
    ("enumerate", "--max-indices", "3"),
    ("enumerate", "--max-indices", "2", "--where", "omega == 0"),
    ("analyze", "btt"),
    ("draw", "btt"),
    ("space", "paper", "--samples", "1"),
    ("db", "init"),
    ("db", "check"),
)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module_with_its_function_and_summary(name):
    assert find_spec(f"einsearch.cli.{name}") is not None
    function = getattr(import_module(f"einsearch.cli.{name}"), name)
    if isinstance(function, typer.Typer):  # a group of commands
        assert function.info.help == COMMANDS[name]
        return
    assert inspect.isfunction(function)
    assert inspect.getdoc(function).splitlines()[0] == COMMANDS[name]


def test_help_lists_every_command(cli):
    answer = cli("--help")
    assert (answer.code, answer.err) == (0, "")
    listed = [line.split()[1] for line in answer.out.splitlines() if line[:2] == "│ " and line[2] != " "]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)
    text = " ".join(answer.out.replace("│", " ").split())
    for summary in COMMANDS.values():
        assert summary in text


def test_nothing_at_all_is_answered_with_the_help(cli):
    answer = cli()
    assert answer.code == 2
    assert all(name in answer.out + answer.err for name in COMMANDS)
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(cli, name):
    answer = cli(name, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "Usage: " in answer.out
    assert f"einsearch {name} " in answer.out
    assert COMMANDS[name] in " ".join(answer.out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("serach",), "No such command 'serach'"),
        (("--version", "1"), "No such option: --version"),
        (("", "x"), "No such command ''"),
        (("draw",), "Missing argument 'EXPR'"),
        (("train",), "Missing argument 'structure'"),
        (("show",), "Missing argument"),
        (("train", "btt", "--width", "wide"), "Invalid value for '--width'"),
        (("train", "btt", "--width", "1.5"), "Invalid value for '--width'"),
        (("run", "--bugdet", "1e9"), "No such option: --bugdet"),
        (("draw", "btt", "kronecker"), "Got unexpected extra argument"),
        (("draw", "btt", "--d-in"), "Option '--d-in' requires an argument"),
        (("status", "--json=1"), "Option '--json' does not take a value"),
    ],
)
def test_misuse_is_one_line(cli, arguments, message):
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"einsearch: {message}")
    assert answer.err.rstrip("\n").endswith("--help`")
    assert answer.err.count("\n") == 1


def torch_after(folder, *commands):
    """Whether a fresh Python has torch after each of some commands, and their exit codes."""
    code = f"""
import contextlib, io, sys
import einsearch.cli.space
from einsearch.cli.main import main
einsearch.cli.space._SURVEYED = 5
for command in {commands!r}:
    sys.argv = ["einsearch", *command]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    print(code, "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(einsearch.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_commands_that_only_think_need_no_torch(tmp_path):
    """One that trains needs it, which shows that the check can fail."""
    *found, trains = torch_after(tmp_path, *WITHOUT_TORCH, ("train", "--help"))
    assert dict(zip(WITHOUT_TORCH, found, strict=True)) == dict.fromkeys(WITHOUT_TORCH, "0 False")
    assert trains == "0 True"
