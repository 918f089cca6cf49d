"""Where the SQL files are."""

from __future__ import annotations

from cdc.resources import sql_dir


def test_state_and_profiles_are_found() -> None:
    assert list((sql_dir() / "state").glob("0001_*.sql"))
    for profile in ("core", "2026"):
        for name in ("feeds.toml", "views.sql", "schema.sql", "sample.sql"):
            assert (sql_dir() / "profiles" / profile / name).is_file()
