"""What goes along with a job: study file, search space and data, in one archive."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from einsearch.errors import EinsearchError

ARCHIVE = "sent.tar"

UPLOAD_BYTES = 90 << 20
"""Ray takes 100 MiB of files with a job."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A value of an option that is a path in the parcel."""

    path: str


@dataclass(slots=True)
class Parcel:
    """Local files under names of their own. One archive: of a folder Ray leaves out what a .gitignore in it names."""

    files: dict[str, Path | bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.files)

    def put(self, option: str, value: str) -> str | Sent:
        """The value of an option as the head has it: where it names local files they are put in.

        Raises EinsearchError for data too large to send.
        """
        path = Path(value).expanduser()
        if option not in ("--space", "--data") or not value or not path.exists():
            return value
        return Sent(self._put(path, option.removeprefix("--")))

    def put_study(self, path: Path) -> Sent:
        """A study file with the files that it names.

        Raises EinsearchError for a file that cannot be read, and data too large to send.
        """
        from einsearch.search.config import read_study_file  # needs torch, which following a job does not

        config = read_study_file(path)
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, value in (("space", config.space), ("data", config.data)):
            if value is not None and Path(value).exists():
                fields[name] = self._put(Path(value), f"study-{name}")
        self.files[path.name] = yaml.safe_dump(fields, sort_keys=False).encode()
        return Sent(path.name)

    def _put(self, path: Path, folder: str) -> str:
        name = path.resolve().name
        found = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in found:
            self.files[f"{folder}/{name}/{file.relative_to(path)}" if path.is_dir() else f"{folder}/{name}"] = file
        size = sum(file.stat().st_size for file in self.files.values() if isinstance(file, Path))
        if size > UPLOAD_BYTES:
            raise EinsearchError(
                f"with {path} {size / 1e6:.0f} MB would go with the job, and {UPLOAD_BYTES / 1e6:.0f} MB can; put it "
                "where the head sees it and give that path"
            )
        return f"{folder}/{name}"

    @property
    def digest(self) -> str | None:
        """Of names and contents; None for no files."""
        if not self.files:
            return None
        digest = hashlib.sha256()
        for name, file in sorted(self.files.items()):
            content = file if isinstance(file, bytes) else file.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Write the archive into a folder."""
        with tarfile.open(folder / ARCHIVE, "w") as archive:
            for name, file in sorted(self.files.items()):
                if isinstance(file, Path):
                    archive.add(file.resolve(), arcname=name)
                else:
                    header = tarfile.TarInfo(name)
                    header.size, header.mode = len(file), 0o644
                    archive.addfile(header, io.BytesIO(file))
