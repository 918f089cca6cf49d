"""Feeds and profiles: what `feeds.toml` may say, as types.

A profile is a folder with `feeds.toml` and `views.sql` (and `schema.sql`, `sample.sql` for the demo and the
tests). Nothing in the program knows a table by name; a profile does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from cdc.errors import ConfigError, ProfileError
from cdc.resources import sql_dir

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
QualifiedName = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}$")
]

_DOORBELLS = "doorbells"
"""The one section of feeds.toml that isn't a feed."""


class Lane(StrEnum):
    """How urgent a dirty key is, most urgent first."""

    LIVE = "live"  # leaves at once
    ROLLUP = "rollup"  # gathers for some minutes
    DAILY = "daily"  # only fields that may wait a day differ
    BULK = "bulk"  # backfill and repair: what the others leave

    @property
    def patience(self) -> int:
        """0 for the most urgent lane, and so on."""
        return _PATIENCE[self]


_PATIENCE = {lane: n for n, lane in enumerate(Lane)}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Watch(_Strict):
    """A table whose changes make keys of a feed dirty.

    Attributes:
        key: the column that holds the feed's key, or several: each non-null one is a key.
        lane: how urgent a change of this table is.
    """

    key: Name | tuple[Name, ...]
    lane: Literal[Lane.LIVE, Lane.ROLLUP] = Lane.LIVE

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns, always as a tuple."""
        return (self.key,) if isinstance(self.key, str) else self.key


class CrmField(_Strict):
    """A custom field that a feed needs in the CRM, as `cdc setup --create-fields` makes it.

    Attributes:
        label: what people see; the CRM makes the API name from it.
        type: the CRM's data type.
        length: longest text, for types that have one.
        unique: no two records may share a value.
        values: the picklist.
        lane: how long a change of this field alone may wait; None if it may not.
    """

    label: Annotated[str, StringConstraints(min_length=1, max_length=25)]
    type: Literal["text", "integer", "bigint", "double", "boolean", "date", "datetime", "picklist", "website"]
    length: int | None = Field(default=None, ge=1, le=450)
    unique: bool = False
    values: tuple[str, ...] = ()
    lane: Literal[Lane.ROLLUP, Lane.DAILY] | None = None


class Feed(_Strict):
    """One kind of thing that is kept in step.

    Attributes:
        name: as in feeds.toml.
        sink: `family.module`, such as `zoho.contacts`.
        view: qualified name of the view that holds the truth.
        key: the view's key column.
        external_id: field that holds our record id in the CRM; None where the module can't have one.
        once: the view's column with an event's identity: each is sent once and never updated. None for a feed of
            records.
        needs: feed whose record must be in the CRM first.
        parent: the view's column with that record's id; required with `needs`.
        gone: what happens to a delivered record that has left the view.
        mandatory: fields that go into every operation because the CRM demands them.
        withdraw_limit: withdrawals in an hour beyond which they are held for approval.
        rewrite_limit: the same for records rewritten that no change announced, and for those that one transaction did.
        announced_limit: the same for records rewritten because of changes, however many transactions made them.
        watch: tables by name, `public` where no schema is given.
        fields: custom fields by API name.
        owners: who has the say over a view column that is a field of the CRM; ours if it isn't named.
    """

    name: str
    sink: Annotated[str, StringConstraints(pattern=r"^[a-z]+\.[a-z]+$")]
    view: QualifiedName
    key: Name
    external_id: Name | None = None
    once: Name | None = None
    needs: Name | None = None
    parent: Name | None = None
    gone: Literal["delete", "keep"] = "keep"
    mandatory: tuple[Name, ...] = ()
    withdraw_limit: int = Field(default=100, ge=0)
    rewrite_limit: int = Field(default=100, ge=0)
    announced_limit: int = Field(default=5_000, ge=0)
    watch: dict[QualifiedName, Watch] = Field(min_length=1)
    fields: dict[Name, CrmField] = {}
    owners: dict[Name, Literal["ours", "theirs", "fill"]] = {}

    @property
    def theirs(self) -> frozenset[str]:
        """View columns whose field belongs to the people at the CRM: compared by `cdc reconcile`, never sent."""
        return frozenset(name for name, owner in self.owners.items() if owner == "theirs")

    @property
    def own_columns(self) -> frozenset[str]:
        """View columns that steer delivery and are not fields of the CRM."""
        return frozenset(c for c in (self.key, self.once, self.parent) if c is not None)

    def lane_of(self, fields: Iterable[str]) -> Lane:
        """Say how urgent a change of these fields is: as urgent as the most urgent of them."""
        lanes = {self.fields[name].lane if name in self.fields else None for name in fields}
        if None in lanes:
            return Lane.LIVE
        return Lane.ROLLUP if Lane.ROLLUP in lanes else Lane.DAILY


class Doorbell(_Strict):
    """A webhook of the application's own that says which row has changed.

    Attributes:
        table: a watched table; the hint counts as a change of a row of it.
        fields: from a field of the payload to the table's key column that it holds a value of.
    """

    table: QualifiedName
    fields: dict[Annotated[str, StringConstraints(min_length=1, max_length=63)], Name] = Field(min_length=1)


class Profile(_Strict):
    """All feeds of one application, and where their files are.

    `doorbells` are its own webhooks, by the last part of their address.
    """

    name: str
    folder: Path
    feeds: dict[str, Feed]
    doorbells: dict[str, Doorbell] = {}

    @property
    def feeds_file(self) -> Path:
        """Where this was read from."""
        return self.folder / "feeds.toml"

    def dependents(self, feed: str) -> tuple[Feed, ...]:
        """Feeds whose records hang on records of `feed`."""
        return tuple(f for f in self.feeds.values() if f.needs == feed)

    def check_feeds(self, names: Iterable[str]) -> None:
        """See to it that a person has named feeds of ours.

        Raises:
            ConfigError: naming the first that is none.
        """
        for name in names:
            if name not in self.feeds:
                raise ConfigError(f"no feed {name!r} in profile {self.name}", fix=f"one of: {', '.join(self.feeds)}")


def qualified(name: str) -> str:
    """Give a table or view name its schema: `public` unless it says otherwise."""
    return name if "." in name else f"public.{name}"


def load_profile(name: str) -> Profile:
    """Read a profile: the name of a shipped one, or the path of a folder.

    Raises:
        ProfileError: if there is no such profile, or its feeds.toml doesn't hold together. The message names file,
            feed and entry.
    """
    folder = Path(name) if "/" in name else sql_dir() / "profiles" / name
    path = folder / "feeds.toml"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        shipped = ", ".join(sorted(p.name for p in (sql_dir() / "profiles").iterdir() if p.is_dir()))
        raise ProfileError(
            f"no profile {name!r}: {path} does not exist",
            fix=f"set CDC_PROFILE to one of: {shipped}; or to the path of a folder with a feeds.toml",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: not valid TOML: {error}") from None
    return parse_profile(folder.name, folder, raw)


def parse_profile(name: str, folder: Path, raw: Mapping[str, object]) -> Profile:
    """Check what a feeds.toml says.

    Raises:
        ProfileError: with file, feed and entry.
    """
    path = folder / "feeds.toml"
    feeds: dict[str, Feed] = {}
    for feed_name, body in raw.items():
        if feed_name == _DOORBELLS:
            continue
        if not isinstance(body, dict):
            raise ProfileError(f"{path}: [{feed_name}] must be a table", fix=f"write it as [{feed_name}]")
        try:
            feeds[feed_name] = Feed.model_validate({"name": feed_name, **body})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ProfileError(f"{path}: feed {feed_name}: {where}: {first['msg']}") from None
    if not feeds:
        raise ProfileError(f"{path}: no feeds", fix="add at least one [feed] table")
    _check_references(path, feeds)
    return Profile(name=name, folder=folder, feeds=feeds, doorbells=_parse_doorbells(path, raw, feeds))


def _parse_doorbells(path: Path, raw: Mapping[str, object], feeds: Mapping[str, Feed]) -> dict[str, Doorbell]:
    section = raw.get(_DOORBELLS, {})
    if not isinstance(section, dict):
        raise ProfileError(f"{path}: [{_DOORBELLS}] must be a table", fix=f"write it as [{_DOORBELLS}]")
    columns: dict[str, set[str]] = {}
    for feed in feeds.values():
        for table, watch in feed.watch.items():
            columns.setdefault(qualified(table), set()).update(watch.keys)
    made = {}
    for name, body in section.items():
        where = f"{path}: doorbell {name}"
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name):
            raise ProfileError(f"{where}: a doorbell's name is lower case letters, digits and hyphens")
        try:
            made[name] = doorbell = Doorbell.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ProfileError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        keys = columns.get(qualified(doorbell.table), set())
        unknown = sorted(set(doorbell.fields.values()) - keys)
        if unknown:
            raise ProfileError(
                f"{where}: {doorbell.table}.{unknown[0]} is no key of any feed",
                fix=f"name one of {', '.join(sorted(keys))}" if keys else "name a table that a feed watches",
            )
    return made


def _check_references(path: Path, feeds: Mapping[str, Feed]) -> None:
    for feed in feeds.values():
        where = f"{path}: feed {feed.name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", feed.name):
            raise ProfileError(f"{where}: a feed's name is lower case letters, digits and underscores")
        _check_owners(where, feed)
        if (feed.needs is None) != (feed.parent is None):
            raise ProfileError(
                f"{where}: needs and parent go together",
                fix="name the view column that holds the parent's id",
            )
        if feed.needs is None:
            continue
        parent = feeds.get(feed.needs)
        if parent is None or parent is feed:
            raise ProfileError(f"{where}: needs = {feed.needs!r} is not another feed of this file")
        if parent.needs is not None:
            raise ProfileError(
                f"{where}: needs = {feed.needs!r}, which itself needs {parent.needs!r}; one step is the limit"
            )


def _check_owners(where: str, feed: Feed) -> None:
    """Refuse what can't be kept: an upsert neither asks whether a field is empty nor goes without a mandatory one."""
    for name, owner in feed.owners.items():
        if owner == "fill":
            raise ProfileError(
                f'{where}: owners: {name} = "fill" would take a look at each record before each call, and is not kept',
                fix='say "ours" if the database has the last word, or "theirs" if the people at the CRM have it',
            )
        if owner == "theirs" and name in {*feed.own_columns, *feed.mandatory, feed.external_id}:
            raise ProfileError(
                f"{where}: owners: {name} can't be theirs, since it goes into every call",
                fix="leave it out of owners",
            )
        if owner == "theirs" and feed.once is not None:
            raise ProfileError(
                f"{where}: owners: an event is sent once and never written again, so all it holds is theirs already",
                fix="leave owners out of this feed",
            )
