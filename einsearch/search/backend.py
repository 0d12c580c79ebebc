"""Where a study trains: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.device import devices, usable_cores
from einsearch.proxy.location import Location
from einsearch.proxy.protocol import Setting
from einsearch.proxy.ranks import Ranks
from einsearch.search.executor import SILENCE, Executor
from einsearch.search.local import LocalExecutor
from einsearch.search.ray_cluster import Needs, capacity, connect, errors_in_one_line, require_answer

BACKENDS = ("local", "ray", "tune")

LOGGERS = ("wandb", "mlflow")
"""Of Ray Tune, beside those that it always has: JSON, CSV and, where tensorboardX is installed, TensorBoard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What runs the segments of a study, and with how much.

    workers: segments at a time; by default one a core or GPU of this machine, or as many as the cluster holds.
    address: of a Ray cluster (`auto`, HOST:PORT, ray://HOST:PORT); None starts Ray on this machine. needs: of one
    trial, on Ray. silence: seconds without progress after which a worker is given up. loggers: of Ray Tune.

    Raises EinsearchError for numbers that make no sense, and options of Ray without it.
    """

    name: str = "local"
    workers: int | None = None
    address: str | None = None
    needs: Needs = field(default_factory=Needs)
    silence: float = SILENCE
    loggers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in BACKENDS:
            raise EinsearchError(f"unknown backend {self.name!r}; choose one of {', '.join(BACKENDS)}")
        if self.workers is not None and self.workers < 1:
            raise EinsearchError(f"workers is {self.workers}; it must be at least 1")
        if not self.silence > 0:
            raise EinsearchError(f"worker-timeout is {self.silence:g} s; it must be positive")
        if self.name == "tune" and (self.address or "").startswith("ray://"):
            raise EinsearchError(
                "Ray Tune does not run through a Ray client; give --backend ray, or --address HOST:PORT on a node"
            )
        if self.here and (self.address is not None or self.needs != Needs()):
            raise EinsearchError(
                "--address, --cpus-per-trial and --gpus-per-trial are of a cluster; give --backend ray"
            )
        for logger in self.loggers:
            if logger not in LOGGERS:
                raise EinsearchError(f"unknown logger {logger!r}; choose one of {', '.join(LOGGERS)}")
            if self.name != "tune":
                raise EinsearchError(f"--logger {logger} is of Ray Tune; give --backend tune")
            if find_spec(logger) is None:
                raise EinsearchError(f"--logger {logger} needs its package: pip install {logger}")

    @property
    def here(self) -> bool:
        """Whether trials train on this machine's own devices."""
        return self.name == "local"

    def device(self, asked: str) -> str:
        """The kind of device that `auto` means: on a cluster what a trial occupies, here what there is."""
        if self.here or asked != "auto":
            return asked
        return "cuda" if self.needs.gpus else "cpu"

    def require_answer(self) -> None:
        """EinsearchError where there is no Ray, or no cluster at the address: before anything is loaded or made."""
        if not self.here:
            require_answer(self.address)

    def errors(self) -> AbstractContextManager[None]:
        """What runs inside raises EinsearchError for trouble of the cluster."""
        return nullcontext() if self.here else errors_in_one_line()

    def places(self, setting: Setting) -> list[str]:
        """The torch device of every worker; connects to the cluster where there is one.

        Raises EinsearchError where there is no such device, or the cluster cannot be used.
        """
        if self.here:
            found = [str(device) for device in devices(setting.device)]
            count = self.workers or (usable_cores() if setting.device == "cpu" else len(found))
            return [found[n % len(found)] for n in range(count)]
        needs = self._needs(setting)
        connect(self.address, max(self.workers or 0, usable_cores()))
        room = capacity(needs)
        return [setting.device] * (self.workers or room)

    def require_nodes(self, setting: Setting, folder: Location) -> None:
        """EinsearchError where a node that would train runs something else, or does not see the folder of checkpoints.

        A node that does not answer is left to the executor. Ray of this machine's own is this machine.
        """
        if self.here or self.address is None:
            return
        from einsearch.search.ray_nodes import ask_nodes
        from einsearch.search.ray_worker import require_same

        for node in ask_nodes(folder, self._needs(setting)):
            if node.about is not None:
                require_same(node.about, setting)

    def _needs(self, setting: Setting) -> Needs:
        """With a GPU for each trial where the study is of GPUs and nothing is said.

        Raises EinsearchError where a trial's GPUs cannot share its batch, or a study on CPUs asks for them.
        """
        if setting.device == "cuda" and self.needs.gpus == 0:
            return Needs(cpus=self.needs.cpus, gpus=1)
        if setting.device == "cpu" and self.needs.gpus > 0:
            raise EinsearchError(
                f"gpus-per-trial is {self.needs.gpus:g}, but the study trains on CPUs; give --device cuda"
            )
        Ranks(size=len(self.needs.devices(setting.device))).require_batch(setting.protocol.batch)
        return self.needs

    def executor(
        self,
        setting: Setting,
        corpus: Corpus,
        *,
        data: Path | None,
        cache: Path,
        folder: Location,
        scratch: Path,
        fixed: bool,
    ) -> Executor:
        """Makes the workers' executor.

        folder: of checkpoints. scratch: a folder of the study on this machine. fixed: slots never change, so that a
        study repeats exactly.
        """
        places = self.places(setting)
        if self.here:
            return LocalExecutor(places, setting, data, cache, self.silence)
        common: dict[str, Any] = {
            "workers": len(places),
            "needs": self._needs(setting),
            "setting": setting,
            "corpus": corpus,
            "folder": folder,
            "silence": self.silence,
        }
        if self.name == "ray":
            from einsearch.search.ray_executor import RayExecutor

            return RayExecutor(fixed=fixed, **common)
        from einsearch.search.tune_executor import TuneExecutor, loggers

        return TuneExecutor(name="tune", storage=scratch, callbacks=loggers(self.loggers, scratch.name), **common)
