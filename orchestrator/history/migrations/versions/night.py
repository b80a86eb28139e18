"""What nightly runs have done."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make its table."""
    op.create_table(
        "night",
        sa.Column("id", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("item", "content", "tip")),
        sa.Column("began", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("directory", "verdict")),
        sa.PrimaryKeyConstraint("id", name="pk_night"),
        sa.UniqueConstraint("item", "content", name="uq_night"),
    )
