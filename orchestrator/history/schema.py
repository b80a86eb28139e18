"""The tables. What passes, or is skipped, on both sides has no row of its own: its lane names sets of tests, which runs
share. So 1,000 runs of 10,000 tests are some ten thousand members of sets and the rows of what did not pass.
"""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

HEAD = "0004"  # the newest revision below migrations/versions

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("began", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("directory", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("base_commit", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("never_ran", Text, nullable=False, server_default=""),
    UniqueConstraint("name", "began"),
)

test = Table(
    "test",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("suite", Text, nullable=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("suite", "name"),
)

# A set of tests; `digest` is of its members, so that every run with the same tests names the same set.
test_set = Table(
    "test_set",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", Text, nullable=False),
    UniqueConstraint("digest"),
)

member = Table(
    "member",
    metadata,
    Column("set_id", ForeignKey("test_set.id"), primary_key=True),
    Column("test_id", ForeignKey("test.id"), primary_key=True),
    sqlite_with_rowid=False,
)

# One lane of one run: the images of both sides ("" where none came out), which `tests` it had, and which of them were
# `skipped` on both sides; a test without a row in `result` passed on both, `repeats` times.
lane = Table(
    "lane",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("arch", Text, nullable=False),
    Column("flavour", Text, nullable=False),
    Column("base_image", Text, nullable=False),
    Column("patched_image", Text, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("tests", ForeignKey("test_set.id"), nullable=False),
    Column("skipped", ForeignKey("test_set.id"), nullable=False),
    Index("ix_lane_run", "run_id"),
)

result = Table(
    "result",
    metadata,
    Column("lane_id", ForeignKey("lane.id", ondelete="CASCADE"), primary_key=True),
    Column("test_id", ForeignKey("test.id"), primary_key=True),
    Column("change", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("base_failed", Integer, nullable=False),
    Column("base_runs", Integer, nullable=False),
    Column("patched", Text, nullable=False),
    Column("patched_failed", Integer, nullable=False),
    Column("patched_runs", Integer, nullable=False),
    Index("ix_result_test", "test_id"),
    sqlite_with_rowid=False,
)

# What a nightly run has done: `item` is where it comes from, `content` the trees and all else that it was made of; one
# without a `verdict` was cut off. `tip` is the commit of a branch. A content that gave no answer is run again, in
# another `directory`.
night = Table(
    "night",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("item", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("tip", Text, nullable=False),
    Column("began", BigInteger, nullable=False),
    Column("directory", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    UniqueConstraint("item", "content", "directory"),
)
