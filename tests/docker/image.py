"""The Dockerfile as a parser reads it, and its steps in a plain folder."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker"
SYSTEM = ("apt-get ", "groupadd ")
"""How the steps begin that change the system of an image: they need root and are not run in a folder."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One instruction of a Dockerfile: its flags (`--from=wheel`) and the rest of the line."""

    instruction: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments in exec form or in words."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


@dataclass(frozen=True, kw_only=True)
class Stage:
    name: str
    base: str
    steps: tuple[Step, ...]


def read_stages(text: str) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first FROM, and the stages in order."""
    parser = DockerfileParser(fileobj=_Memory(text))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for entry in parser.structure:
        instruction, value = entry["instruction"], " ".join(entry["value"].split())
        if instruction == "COMMENT":
            continue
        flags = {}
        while match := re.match(r"--([a-z-]+)=(\S+)\s+", value):
            flags[match[1]] = match[2]
            value = value[match.end() :]
        if instruction == "FROM":
            base, _, name = re.fullmatch(r"(\S+)( AS (\S+))?", value, re.IGNORECASE).groups()
            stages.append(Stage(name=name or str(len(stages)), base=base, steps=()))
        elif not stages:
            assert instruction == "ARG", f"{instruction} before FROM"
            arguments |= _assignments(value)
        else:
            last = stages[-1]
            step = Step(instruction=instruction, flags=flags, text=value)
            stages[-1] = Stage(name=last.name, base=last.base, steps=(*last.steps, step))
    return arguments, stages


class _Memory:
    """What the parser wants of a file."""

    def __init__(self, text: str) -> None:
        self._data = text.encode()

    def seek(self, _offset: int) -> None: ...

    def read(self) -> bytes:
        return self._data

    def readlines(self) -> list[bytes]:
        return self._data.splitlines(keepends=True)


def _assignments(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) if "=" in word else (word, "") for word in shlex.split(text))


@dataclass(kw_only=True)
class Build:
    """Runs the steps of an image below a folder: `/opt/einsearch` of the image becomes `FOLDER/opt/einsearch`.

    All stages share the folder, so a COPY from one stage to the same path of another has nothing to do.
    Only what the ignore file lets through can be copied. Python is the one that runs the tests.
    """

    stages: list[Stage]
    folder: Path
    arguments: dict[str, str]
    skipped: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def target(self, name: str) -> None:
        """Run the stage and whatever it is made of."""
        self._stage(next(stage for stage in self.stages if stage.name == name), done=set())

    def _stage(self, stage: Stage, done: set[str]) -> tuple[dict[str, str], str]:
        by_name = {s.name: s for s in self.stages}
        environment, workdir = (
            self._stage(by_name[stage.base], done) if stage.base in by_name else ({"PATH": os.environ["PATH"]}, "/")
        )
        for step in stage.steps:
            for flag in step.flags.values():
                match = re.search(r"(?:^|from=)([a-z-]+)(?:,|$)", flag)
                if match and match[1] in by_name and match[1] not in done:
                    self._stage(by_name[match[1]], done)
            match step.instruction:
                case "ARG":
                    environment |= _assignments(step.text) | self.arguments
                case "ENV":
                    for name, value in _assignments(step.text).items():
                        environment[name] = self._below(value.replace("${PATH}", environment["PATH"]))
                case "WORKDIR":
                    workdir = step.text
                    self._path(workdir).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(step, workdir)
                case "RUN" if stage.name not in done:
                    self._run(step, environment, workdir)
                case "ENTRYPOINT":
                    self.entrypoint = step.words
                case "CMD":
                    self.command = step.words
        done.add(stage.name)
        self.environment = environment
        return dict(environment), workdir

    def _path(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def _below(self, text: str) -> str:
        """The text with the image's own absolute paths put below the folder."""
        return re.sub(r"(?<![\w./$}])/(opt|build|pins|work|storage)\b", rf"{self.folder}/\1", text)

    def _copy(self, step: Step, workdir: str) -> None:
        *sources, target = step.words
        into = self._path(target if target.startswith("/") else f"{workdir}/{target}")
        for source in sources:
            if "from" in step.flags:
                assert self._path(source) == into, "all stages share one folder"
                continue
            for path in context_files(source):
                name = into / path.relative_to(ROOT / source) if (ROOT / source).is_dir() else into
                name = name / path.name if target.endswith("/") else name
                name.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, name)
                if "chmod" in step.flags:
                    name.chmod(int(step.flags["chmod"], 8))

    def _run(self, step: Step, environment: dict[str, str], workdir: str) -> None:
        if step.text.startswith(SYSTEM):
            self.skipped.append(step.text)
            return
        kept = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "HTTP", "HOME", "no_proxy"))}
        python = Path(sys.base_prefix) / "bin"
        path = f"{python}{os.pathsep}{environment['PATH']}"
        subprocess.run(
            ["sh", "-ec", self._below(step.text)],
            cwd=self._path(workdir),
            # Compiled files are for speed at the start of a container; here they would cost more than all the rest.
            env=kept | environment | {"PATH": path, "PIP_NO_COMPILE": "1"},
            check=True,
        )


def context_files(source: str) -> list[Path]:
    """The files below a path of the build context that the ignore file lets through; an error where there are none."""
    place = ROOT / source
    found = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    kept = [path for path in found if not ignored(path.relative_to(ROOT))]
    assert kept, f"nothing of {source} is in the build context"
    return kept


def ignored(path: Path) -> bool:
    """Whether Dockerfile.dockerignore keeps a file out: the last line that fits decides."""
    out = False
    for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = [str(path), *(str(p) for p in path.parents if str(p) != ".")]
        names = [name for part in parts for name in (part, Path(part).name)] if "**/" in line else parts
        if any(fnmatch.fnmatchcase(name, pattern) for name in names):
            out = not line.startswith("!")
    return out
