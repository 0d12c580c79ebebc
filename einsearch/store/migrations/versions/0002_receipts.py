"""Receipts of transactions, so that one whose connection is lost while it commits is never done twice.

Written out and never changed again: it does not follow the types and constants of the package.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "es_receipt",
        sa.Column("token", sa.Text, primary_key=True),
        sa.Column("valid", sa.Boolean, nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=False),
    )
