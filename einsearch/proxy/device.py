"""Devices: which one, how precise, how it is made to repeat itself."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import resource
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources

import torch

import einsearch
from einsearch.errors import EinsearchError
from einsearch.host import host_name
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.protocol import Protocol, Setting


def devices(kind: str = "auto") -> list[torch.device]:
    """The devices of a kind: every visible GPU, or the CPU. `auto` prefers GPUs.

    Raises EinsearchError where the kind is unknown or there is none.
    """
    if kind not in ("auto", "cpu", "cuda"):
        raise EinsearchError(f"unknown device {kind!r}; known: auto, cpu, cuda")
    count = torch.cuda.device_count() if kind != "cpu" else 0
    if count:
        return [torch.device("cuda", n) for n in range(count)]
    if kind == "cuda":
        raise EinsearchError("device cuda was asked for, but torch sees no GPU; use --device cpu")
    return [torch.device("cpu")]


def describe(device: torch.device) -> str:
    """A device for people: the GPU's name, or the number of cores this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {usable_cores()} cores"


def machine(device: torch.device) -> str:
    """Host and device, as `node7: NVIDIA H200`."""
    return f"{host_name()}: {describe(device)}"


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare(device: torch.device) -> None:
    """Make this process train on `device` repeatably: one thread on a CPU, deterministic kernels on a GPU."""
    torch.set_num_threads(1)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.cuda.set_device(device)
    # The flag of use_deterministic_algorithms, without its import of the compiler (2 s a process).
    torch.set_deterministic_debug_mode("error")
    # Filling fresh memory guards against reading it, which the tests do; a trial need not pay for it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_TOP_PAD = -3, -1, -2


def keep_freed_memory() -> bool:
    """Let this process keep large blocks of memory that it frees, instead of giving them back to the system.

    Else every activation is fresh memory, whose pages the system fills with zeros one fault at a time: that costs
    more than most operations on it. Returns whether the C library can (glibc can).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    wanted = ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1), (_M_TOP_PAD, 64 << 20))
    return all(mallopt(option, value) == 1 for option, value in wanted)


def setting_for(protocol: Protocol, corpus: Corpus, device: torch.device) -> Setting:
    """The protocol with all that must agree for two losses to be compared."""
    return Setting(
        protocol=protocol,
        code=code_version(),
        data_name=corpus.name,
        data_hash=corpus.hash,
        torch=torch.__version__,
        device=device.type,
        precision="bfloat16" if device.type == "cuda" else "float32",
    )


def code_version() -> str:
    """The version of einsearch with a digest of the sources that decide a loss."""
    return f"{einsearch.__version__}+{code_digest()}"


@lru_cache(maxsize=1)
def code_digest() -> str:
    """8 hex digits of the sources that decide a loss."""
    digest = hashlib.sha256()
    for package in ("space", "layers", "kernels", "proxy"):
        for name, content in _sources(f"einsearch.{package}"):
            digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:8]


def _sources(package: str) -> Iterable[tuple[str, bytes]]:
    folders = [("", resources.files(package))]
    while folders:
        prefix, folder = folders.pop()
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            elif entry.name.endswith(".py"):
                yield f"{package}/{prefix}{entry.name}", entry.read_bytes()


def autocast(setting: Setting) -> contextlib.AbstractContextManager[object]:
    """bf16 autocast where the setting says so."""
    if setting.precision == "bfloat16":
        return torch.autocast(setting.device, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def compute_dtype(setting: Setting) -> torch.dtype:
    """The dtype of the matrix products."""
    return torch.bfloat16 if setting.precision == "bfloat16" else torch.float32


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory so far: of torch's allocator on a GPU, of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
