"""Write the real output of the commands in the documentation, and its pictures: `make docs`.

A ```console block holds lines `$ einsearch ...`; what follows each is replaced by what the command prints. A comment
`<!-- einsearch draw ... -o FILE -->` draws the picture below it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent
PAGES = ("taxonomy.md", "../README.md")


def output_of(command: str) -> str:
    """What an `einsearch ...` command prints, both streams, without spaces at the ends of lines."""
    arguments = [sys.executable, "-m", *shlex.split(command)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=DOCS)
    return "\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines())


def with_outputs(page: str) -> str:
    """The text of a page with its console blocks written anew."""

    def block(match: re.Match[str]) -> str:
        commands = [line for line in match[1].splitlines() if line.startswith("$ ")]
        return "```console\n" + "\n\n".join(f"{line}\n{output_of(line[2:])}" for line in commands) + "\n```"

    return re.sub(r"```console\n(.*?)\n```", block, page, flags=re.DOTALL)


def pictures(page: str) -> list[str]:
    """The commands that draw a page's pictures."""
    return re.findall(r"<!-- (einsearch draw .*?) -->", page)


def main() -> None:
    for name in PAGES:
        path = DOCS / name
        page = path.read_text(encoding="utf-8")
        path.write_text(with_outputs(page), encoding="utf-8")
        for command in pictures(page):
            sys.stderr.write(output_of(command) + "\n")


if __name__ == "__main__":
    main()
