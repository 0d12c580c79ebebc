"""What speed was measured on: written beside every number."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

import einsearch
from einsearch.proxy.device import usable_cores

_BUSY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine and its software. cores: that this process may use. load: mean number of running processes at start.

    gpu, compiler: None where there is none. compiler: of C++, that torch.compile needs. float32_matmul: torch's
    precision of float32 products; `highest` is no TF32. versions: of what computes.
    """

    processor: str
    cores: int
    load: float
    gpu: str | None
    system: str
    compiler: str | None
    float32_matmul: str
    versions: dict[str, str]

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        """The machine that this process runs on, and `device` in it."""
        return cls(
            processor=processor_name(),
            cores=usable_cores(),
            load=round(os.getloadavg()[0], 2),
            gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            compiler=compiler(),
            float32_matmul=torch.get_float32_matmul_precision(),
            versions=_versions(),
        )

    @property
    def busy(self) -> bool:
        """Whether others ran here at start."""
        return self.load > _BUSY

    def __str__(self) -> str:
        """One line, the device first."""
        software = ", ".join(f"{name} {self.versions[name]}" for name in ("torch", "triton") if name in self.versions)
        return (
            f"{f'{self.gpu}; ' if self.gpu else ''}{self.processor}, {self.cores} cores, load {self.load}; {software}"
        )


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model as the system names it."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def compiler() -> str | None:
    """The C++ compiler that torch.compile would call, or None where there is none."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def _versions() -> dict[str, str]:
    found = {"einsearch": einsearch.__version__, "python": platform.python_version(), "torch": torch.__version__}
    if importlib.util.find_spec("triton") is not None:
        found["triton"] = version("triton")
    return found
