"""What a person asks of a study; the one typed configuration that YAML and the command line fill."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from einsearch.errors import EinsearchError
from einsearch.layers.implementations import require_implementation
from einsearch.proxy.protocol import Protocol
from einsearch.search.suggest import require_sampler
from einsearch.space.yaml_file import read_yaml

DEFAULT_BUDGET = 2 * 10**12
DEFAULT_SPACE = "two-factor"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """Everything that decides a study's results, apart from the machine.

    name: of the study; empty: made of space, budget and seed, so that the same command continues its
    own study. space: a shipped search space's name or a YAML path. budget: training FLOPs, never exceeded.
    data: a text file or folder; None is the Python standard library. sampler: who proposes candidates.
    seed: of the proposals, the initialisations and the batches. rungs: FLOPs at which trials are
    compared, ascending; empty: planned from the budget. reduction: of n trials at a rung, n // reduction
    go on. ladder: (dense width, FLOPs) of the dense runs; empty: planned. implementation: of the linear
    layers, forced; `auto` is the fastest on the machine, measured.
    """

    name: str = ""
    space: str = DEFAULT_SPACE
    budget: int = DEFAULT_BUDGET
    data: str | None = None
    sampler: str = "tpe"
    seed: int = 0
    rungs: tuple[int, ...] = ()
    reduction: int = 3
    ladder: tuple[tuple[int, int], ...] = ()
    implementation: str = "auto"
    protocol: Protocol = field(default_factory=Protocol)

    def __post_init__(self) -> None:
        if not self.name:
            space = Path(self.space).stem if self.space.endswith((".yaml", ".yml")) else self.space
            seed = f"-seed{self.seed}" if self.seed else ""
            object.__setattr__(self, "name", f"{space}-{write_flops(self.budget)}{seed}")
        if not self.name.strip() or any(c in self.name for c in "/\\\0\n") or self.name.startswith("."):
            raise EinsearchError(f"study name {self.name!r} must be usable as a folder's name; use letters and digits")
        if self.budget < 1:
            raise EinsearchError(f"budget is {self.budget}; it must be a positive number of FLOPs")
        if not 0 <= self.seed < 2**32:
            raise EinsearchError(f"seed is {self.seed}; it must lie between 0 and 2^32 - 1")
        if self.reduction < 1:
            raise EinsearchError(f"reduction is {self.reduction}; it must be at least 1")
        if list(self.rungs) != sorted(set(self.rungs)) or any(r < 1 for r in self.rungs):
            raise EinsearchError(f"rungs {list(self.rungs)} must be positive FLOPs in ascending order")
        widths = [width for width, _ in self.ladder]
        if len(set(widths)) < len(widths):
            raise EinsearchError(f"ladder widths {widths} must differ; leave the repeated one out")
        require_sampler(self.sampler)
        require_implementation(self.implementation)

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        del data["protocol"]  # stored beside it, with the setting
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any], protocol: Protocol) -> StudyConfig:
        ladder = tuple((int(width), int(flops)) for width, flops in data["ladder"])
        return cls(**(data | {"rungs": tuple(data["rungs"]), "ladder": ladder, "protocol": protocol}))


def write_flops(flops: float) -> str:
    """FLOPs for people: three digits and a power of ten.

    >>> write_flops(4 * 10**12), write_flops(277777777777)
    ('4e12', '2.78e11')
    """
    mantissa, exponent = f"{flops:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def parse_flops(text: str | float, name: str = "budget") -> int:
    """FLOPs from `4e12`, `2.5e11` or `4000000000000`, exactly.

    >>> parse_flops("2.5e11")
    250000000000
    """
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        raise EinsearchError(f"{name} is no number: {text}; write FLOPs as in 4e12") from None
    if not value.is_finite() or value < 1:
        raise EinsearchError(f"{name} is {text}; it must be a positive number of FLOPs, as in 4e12")
    if value.adjusted() > 36:
        raise EinsearchError(f"{name} is {text}; more than 1e36 FLOPs cannot be booked")
    return int(value)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ProtocolFile(_Strict):
    """The protocol's fields that a study file may change."""

    context: int | None = None
    batch: int | None = None
    optimizer: str | None = None
    learning_rate: float | str | None = None
    base_width: int | None = None
    base_ffn_expansion: int | None = None
    warmup_steps: int | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    clip: float | None = None
    residual: str | None = None
    weight_normalization: bool | None = None
    balance_weight: float | None = None
    embedding_std: float | None = None
    validation_sequences: int | None = None
    evaluations_per_octave: int | None = None


class LadderRun(_Strict):
    """A dense run of the ladder."""

    width: int = Field(ge=1)
    flops: float | int | str


class StudyFile(_Strict):
    """A study file: the fields of StudyConfig, all optional but the name."""

    name: str
    description: str = ""
    space: str = DEFAULT_SPACE
    budget: float | int | str = DEFAULT_BUDGET
    data: str | None = None
    sampler: str = "tpe"
    seed: int = 0
    rungs: list[float | int | str] = []
    reduction: int = 3
    ladder: list[LadderRun] = []
    implementation: str = "auto"
    protocol: ProtocolFile = ProtocolFile()


def read_study_file(path: Path) -> StudyConfig:
    """A study from a YAML file; the paths of its search space and of its data may be relative to the file.

    Raises EinsearchError with line and field for anything that is wrong.
    """
    if not path.is_file():
        raise EinsearchError(f"no study file at {path}; give the path of a YAML file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EinsearchError(f"cannot read study file {path}: {error}; give a UTF-8 text file") from None
    file = read_yaml(text, str(path), StudyFile)
    changed = {k: v for k, v in file.protocol.model_dump().items() if v is not None}
    if "learning_rate" in changed:
        changed["learning_rate"] = _number(changed["learning_rate"], "learning_rate")
    beside = path.parent / file.space
    space = str(beside) if file.space.endswith((".yaml", ".yml")) and beside.is_file() else file.space
    data = None
    if file.data is not None:
        given = Path(file.data).expanduser()
        beside = path.parent / given
        data = str((beside if beside.exists() else given).absolute())  # it must hold wherever the study is resumed
    return StudyConfig(
        name=file.name,
        space=space,
        budget=parse_flops(file.budget),
        data=data,
        sampler=file.sampler,
        seed=file.seed,
        rungs=tuple(parse_flops(value, "rung") for value in file.rungs),
        reduction=file.reduction,
        ladder=tuple((run.width, parse_flops(run.flops, "ladder flops")) for run in file.ladder),
        implementation=file.implementation,
        protocol=Protocol(**changed),
    )


def _number(text: str | float, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise EinsearchError(f"{name} is no number: {text}; write it as in 3e-3")
    return value
