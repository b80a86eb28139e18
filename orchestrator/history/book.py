"""A history, opened: its tables are made or brought up to date, writers take turns, and its faults are said as ours."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from kvm import disk
from kvm.errors import Error, InfraError, UserError
from orchestrator.history import schema

WAIT_SECONDS = 30  # for another writer
_TURN = 0x6B64656C7461  # the number of PostgreSQL's advisory lock that writers hold
_MIGRATIONS = Path(__file__).parent / "migrations"


class Book:
    """Connections to one history."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a connection; what is read is of one moment."""
        with _explained(self._engine.url), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend a connection while no other kdelta writes; all of it is kept, or nothing."""
        engine = self._engine.execution_options(writes=True)
        with _explained(engine.url), engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("select pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
            yield connection


@contextlib.contextmanager
def opened(where: str) -> Iterator[Book]:
    """Open the history that a path or a URL names; a file that is not there is made."""
    url = _url(where)
    with _explained(url):
        engine = _engine(url)
    book = Book(engine)
    try:
        _bring_up_to_date(book, url)
        yield book
    finally:
        engine.dispose()


def _url(where: str) -> URL:
    """Make a URL of a path; of PostgreSQL's own URLs one that names the driver."""
    if "://" not in where:
        return URL.create("sqlite", database=str(disk.expanded(where).absolute()))
    try:
        url = make_url(where)
    except ArgumentError as fault:
        raise UserError(
            "the history's URL is none", hint="postgresql://USER@HOST/DATABASE, or the path of a file"
        ) from fault
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UserError(f"no history can be kept in {url.get_backend_name()}", hint="SQLite and PostgreSQL are known")
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        try:
            return create_engine(url)
        except ModuleNotFoundError as fault:
            raise UserError(
                "PostgreSQL's driver is missing", hint="pip install '.[postgres]' where kdelta is"
            ) from fault
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: object) -> None:
    """sqlite3 begins no transaction of its own, so that making tables, too, is part of one."""
    connection.isolation_level = None
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")


def _begin(connection: Connection) -> None:
    """One that will write waits for its turn at once: who has read and then wants to write may never get it."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("begin immediate" if writes else "begin")


def _bring_up_to_date(book: Book, url: URL) -> None:
    """Make the tables that are missing; of several processes one does it, and the others wait."""
    with book.reading() as connection:
        found = _revision(connection)
    if found == schema.HEAD:
        return
    from alembic import command, config  # noqa: PLC0415  (0.2 s, once in a history's life)
    from alembic.util import CommandError  # noqa: PLC0415

    settings = config.Config()
    settings.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with book.writing() as connection:
        settings.attributes["connection"] = connection
        try:
            command.upgrade(settings, "head")
        except CommandError as fault:
            newer = f"the history {_named(url)} has the schema {found}, which this kdelta does not know"
            raise UserError(newer, hint="a newer kdelta has made it: use that one, or name another history") from fault


def _revision(connection: Connection) -> str | None:
    """The schema that is there; None where there is none yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(select(text("version_num from alembic_version")))
    return found


@contextlib.contextmanager
def _explained(url: URL) -> Iterator[None]:
    try:
        yield
    except Error:
        raise
    except (SQLAlchemyError, OSError) as fault:
        words = str(getattr(fault, "orig", None) or fault).strip().splitlines()
        hint = "is the server there, and may you connect?"
        if url.get_backend_name() == "sqlite":
            hint = "is it writable? A damaged one can go: `kdelta history --add results/*/` makes it anew"
        raise InfraError(f"the history {_named(url)}: {words[0] if words else fault}", hint=hint) from fault


def _named(url: URL) -> str:
    """How it is called in messages: a path, or a URL without its password."""
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
