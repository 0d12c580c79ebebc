"""The tables. `migrations/` builds the same ones step by step; a test compares the two.

The database may also hold Optuna's tables: ours begin with `es_`, no foreign key leads out of
them, and states are strings with a CHECK because PostgreSQL would share an enum of the same name.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from einsearch.store.column_types import Flops, UtcDateTime

PREFIX = "es_"
VERSION_TABLE = "es_alembic_version"

STUDY_STATES = ("new", "running", "stopped", "finished")
TRIAL_KINDS = ("ladder", "search", "final")
TRIAL_STATES = ("queued", "running", "paused", "complete", "failed")
SEGMENT_STATES = ("reserved", "done", "lost")

metadata = MetaData()


def is_ours(name: str | None, type_: str, _parents: Mapping[Any, str | None]) -> bool:
    """Whether Alembic may look at it: the database may also hold Optuna's tables, which are none of our business."""
    return type_ != "table" or (name is not None and name.startswith(PREFIX))


def _one_of(table: str, column: str, values: tuple[str, ...]) -> CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=f"ck_{table}_{column}")


es_study = Table(
    "es_study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("config", JSON, nullable=False),
    Column("protocol", JSON, nullable=False),
    Column("protocol_id", Text, nullable=False),
    Column("budget", Flops, nullable=False),
    Column("spent", Flops, nullable=False),
    Column("lost", Flops, nullable=False),
    Column("reserved", Flops, nullable=False),
    Column("state", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    UniqueConstraint("name", name="uq_es_study_name"),
    _one_of("es_study", "state", STUDY_STATES),
    # Ids are never given twice: es_trial.reused_from must not come to name another trial.
    sqlite_autoincrement=True,
)

# The row outlives the lease (owner null: released), so that epochs only ever grow.
es_lease = Table(
    "es_lease",
    metadata,
    Column(
        "study_id",
        Integer,
        ForeignKey("es_study.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("epoch", Integer, nullable=False),
    Column("owner", Text),
    Column("heartbeat_at", Float, nullable=False),
)

es_trial = Table(
    "es_trial",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("es_study.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("candidate", JSON, nullable=False),
    Column("label", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("rung", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("flops_per_step", Flops, nullable=False),
    Column("flops_done", Flops, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("suggestion", JSON(none_as_null=True)),
    Column("environment", JSON(none_as_null=True)),
    Column("checkpoint", Text),
    # No foreign key: the study that trained it may be deleted, the copy stays.
    Column("reused_from", Integer),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("study_id", "number", name="uq_es_trial_number"),
    UniqueConstraint("study_id", "key", "seed", name="uq_es_trial_key_seed"),
    _one_of("es_trial", "kind", TRIAL_KINDS),
    _one_of("es_trial", "state", TRIAL_STATES),
    sqlite_autoincrement=True,
)

es_segment = Table(
    "es_segment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("es_study.id", ondelete="CASCADE"), nullable=False),
    Column("trial_id", Integer, ForeignKey("es_trial.id", ondelete="CASCADE"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("start_step", Integer, nullable=False),
    Column("end_step", Integer, nullable=False),
    Column("flops", Flops, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("reserved_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("seconds", Float),
    Column("tokens", BigInteger),
    Column("progress_step", Integer),
    Column("progress_loss", Float),
    Column("progress_at", UtcDateTime),
    Column("peak_memory_bytes", BigInteger),
    _one_of("es_segment", "state", SEGMENT_STATES),
    sqlite_autoincrement=True,
)
Index("ix_es_segment_study", es_segment.c.study_id)
Index("ix_es_segment_trial", es_segment.c.trial_id)
Index(
    "uq_es_segment_reserved",
    es_segment.c.trial_id,
    unique=True,
    sqlite_where=text("state = 'reserved'"),
    postgresql_where=text("state = 'reserved'"),
)

es_point = Table(
    "es_point",
    metadata,
    Column(
        "trial_id",
        Integer,
        ForeignKey("es_trial.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("flops", Flops, nullable=False),
    Column("train_loss", Float),
    Column("validation_loss", Float),
    Column("seconds", Float, nullable=False),
)

# One row a writer, the token of its last transaction: see `einsearch.store.receipts`.
es_receipt = Table(
    "es_receipt",
    metadata,
    Column("token", Text, primary_key=True),
    Column("valid", Boolean, nullable=False),
    Column("left_at", UtcDateTime, nullable=False),
)
