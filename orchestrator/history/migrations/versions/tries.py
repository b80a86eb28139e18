"""A nightly item of one content may be run more than once."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Tell its runs apart by their directories."""
    with op.batch_alter_table("night") as table:
        table.drop_constraint("uq_night", type_="unique")
        table.create_unique_constraint("uq_night", ["item", "content", "directory"])
