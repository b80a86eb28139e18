"""The first schema. It stays as it is, whatever the tables become: later steps start from it."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    _of_tests()
    _of_runs()


def _of_tests() -> None:
    op.create_table(
        "test",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("suite", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_test"),
        sa.UniqueConstraint("suite", "name", name="uq_test"),
    )
    op.create_table(
        "test_set",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_test_set"),
        sa.UniqueConstraint("digest", name="uq_test_set"),
    )
    op.create_table(
        "member",
        sa.Column("set_id", sa.Integer, sa.ForeignKey("test_set.id", name="fk_member_set_id")),
        sa.Column("test_id", sa.Integer, sa.ForeignKey("test.id", name="fk_member_test_id")),
        sa.PrimaryKeyConstraint("set_id", "test_id", name="pk_member"),
        sqlite_with_rowid=False,
    )


def _of_runs() -> None:
    texts = ("verdict", "title", "directory", "release", "base_commit")
    op.create_table(
        "run",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("began", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.UniqueConstraint("name", "began", name="uq_run"),
    )
    op.create_table(
        "lane",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, _key("lane", "run_id", "run.id", ondelete="CASCADE"), nullable=False),
        *(sa.Column(n, sa.Text, nullable=False) for n in ("arch", "flavour", "base_image", "patched_image")),
        sa.Column("repeats", sa.Integer, nullable=False),
        *(sa.Column(n, sa.Integer, _key("lane", n, "test_set.id"), nullable=False) for n in ("tests", "skipped")),
        sa.PrimaryKeyConstraint("id", name="pk_lane"),
    )
    op.create_index("ix_lane_run", "lane", ["run_id"])
    op.create_table(
        "result",
        sa.Column("lane_id", sa.Integer, _key("result", "lane_id", "lane.id", ondelete="CASCADE")),
        sa.Column("test_id", sa.Integer, _key("result", "test_id", "test.id")),
        sa.Column("change", sa.Text, nullable=False),
        *(
            column
            for side in ("base", "patched")
            for column in (
                sa.Column(side, sa.Text, nullable=False),
                sa.Column(f"{side}_failed", sa.Integer, nullable=False),
                sa.Column(f"{side}_runs", sa.Integer, nullable=False),
            )
        ),
        sa.PrimaryKeyConstraint("lane_id", "test_id", name="pk_result"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_result_test", "result", ["test_id"])


def _key(table: str, column: str, target: str, ondelete: str | None = None) -> sa.ForeignKey:
    return sa.ForeignKey(target, name=f"fk_{table}_{column}", ondelete=ondelete)
