"""The first schema.

Written out and never changed again: it does not follow the types and constants of the package.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FLOPS = sa.Text().with_variant(sa.Numeric(38, 0), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "es_study",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("protocol", sa.JSON, nullable=False),
        sa.Column("protocol_id", sa.Text, nullable=False),
        sa.Column("budget", FLOPS, nullable=False),
        sa.Column("spent", FLOPS, nullable=False),
        sa.Column("lost", FLOPS, nullable=False),
        sa.Column("reserved", FLOPS, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.UniqueConstraint("name", name="uq_es_study_name"),
        sa.CheckConstraint("state IN ('new', 'running', 'stopped', 'finished')", name="ck_es_study_state"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "es_lease",
        sa.Column(
            "study_id",
            sa.Integer,
            sa.ForeignKey("es_study.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("heartbeat_at", sa.Float, nullable=False),
    )
    op.create_table(
        "es_trial",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("es_study.id", ondelete="CASCADE"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("candidate", sa.JSON, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("rung", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("flops_per_step", FLOPS, nullable=False),
        sa.Column("flops_done", FLOPS, nullable=False),
        sa.Column("parameters", sa.BigInteger, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("suggestion", sa.JSON),
        sa.Column("environment", sa.JSON),
        sa.Column("checkpoint", sa.Text),
        sa.Column("reused_from", sa.Integer),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.UniqueConstraint("study_id", "number", name="uq_es_trial_number"),
        sa.UniqueConstraint("study_id", "key", "seed", name="uq_es_trial_key_seed"),
        sa.CheckConstraint("kind IN ('ladder', 'search', 'final')", name="ck_es_trial_kind"),
        sa.CheckConstraint("state IN ('queued', 'running', 'paused', 'complete', 'failed')", name="ck_es_trial_state"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "es_segment",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("es_study.id", ondelete="CASCADE"), nullable=False),
        sa.Column("trial_id", sa.Integer, sa.ForeignKey("es_trial.id", ondelete="CASCADE"), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("start_step", sa.Integer, nullable=False),
        sa.Column("end_step", sa.Integer, nullable=False),
        sa.Column("flops", FLOPS, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("reserved_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("seconds", sa.Float),
        sa.Column("tokens", sa.BigInteger),
        sa.Column("progress_step", sa.Integer),
        sa.Column("progress_loss", sa.Float),
        sa.Column("progress_at", MOMENT),
        sa.Column("peak_memory_bytes", sa.BigInteger),
        sa.CheckConstraint("state IN ('reserved', 'done', 'lost')", name="ck_es_segment_state"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_es_segment_study", "es_segment", ["study_id"])
    op.create_index("ix_es_segment_trial", "es_segment", ["trial_id"])
    op.create_index(
        "uq_es_segment_reserved",
        "es_segment",
        ["trial_id"],
        unique=True,
        sqlite_where=sa.text("state = 'reserved'"),
        postgresql_where=sa.text("state = 'reserved'"),
    )
    op.create_table(
        "es_point",
        sa.Column(
            "trial_id",
            sa.Integer,
            sa.ForeignKey("es_trial.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("flops", FLOPS, nullable=False),
        sa.Column("train_loss", sa.Float),
        sa.Column("validation_loss", sa.Float),
        sa.Column("seconds", sa.Float, nullable=False),
    )
