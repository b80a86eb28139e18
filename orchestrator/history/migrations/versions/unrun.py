"""A good answer says how many changed lines never ran."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Of the runs that are there nothing is known."""
    op.add_column("run", sa.Column("never_ran", sa.Text, nullable=False, server_default=""))
