"""URLs of stores and of the catalog: whether they can be, and which place they name. Nothing here is opened."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, Field
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from storaged.config.quantities import BadValueError, shown
from storaged.masking import carries_secret
from storaged.stores.schemes import SCHEMES, SCHEMES_HINT

Location: TypeAlias = tuple[str, ...]  # scheme and segments; one place lies in another if it begins with it

_LONGEST: Final = 2_000
_STORE_FORMS = "write a URL, such as file:///srv/data or s3://bucket/prefix"
_CATALOG_FORMS = (
    "write sqlite:///file-beside-this-one.db, sqlite:////absolute/file.db or postgresql://user@host/database"
)
SECRETS_HINT: Final = (
    "take it out and set STORAGED_CATALOG_PASSWORD, STORAGED_CATALOG_PASSWORD_FILE or the systemd credential "
    "storaged.catalog_password; PGPASSWORD and ~/.pgpass work too"
)


def refuse_secrets(url: str) -> str:
    """The URL itself. Raises BadValueError, without repeating it, where it names a user, a password or a signature."""
    if carries_secret(url):
        raise BadValueError(
            "a password cannot stand in a URL, nor can a user or a signature",
            hint="take it out: the store's own client finds its credentials (environment, profile, role)",
        )
    return url


def check_endpoint(url: str) -> str:
    """The URL of a server. Raises BadValueError."""
    refuse_secrets(url)
    if not re.fullmatch(r"https?://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]{1,5})?(/[^\s?#]*)?", url):
        raise BadValueError(
            f"{shown(url)} is not the URL of a server", hint="such as https://minio.example.org:9000, without ? and #"
        )
    return url


def check_log_path(path: str) -> str:
    """A path, or keys of a store. Raises BadValueError."""
    return refuse_secrets(path) if "://" in path else path


def check_store_url(url: str) -> str:
    """The URL of a store without its last slash. Raises BadValueError; a password is never repeated."""
    named, there, _ = url.partition("://")  # where no store has the scheme, what looks like a user may be a container
    if there and re.fullmatch("[a-z][a-z0-9+.-]+", named) and named not in (*SCHEMES, "memory"):
        said = f"{named}://" if carries_secret(url) else shown(url)
        raise BadValueError(f"{said} is at no store that storaged knows", hint=SCHEMES_HINT)
    refuse_secrets(url)
    if len(url) > _LONGEST:
        raise BadValueError(f"{shown(url)} is longer than {_LONGEST} characters", hint=_STORE_FORMS)
    scheme, colon, rest = url.partition(":")
    if not colon or not re.fullmatch("[A-Za-z][A-Za-z0-9+.-]+", scheme):
        path = f"write file://{url}" if re.fullmatch(r"(/[\w.-]+)+/?", url) else _STORE_FORMS
        raise BadValueError(f"{shown(url)} has no scheme", hint=path)
    if scheme.lower() == "memory" and not _memory_allowed():
        raise BadValueError(f"{shown(url)} would die with its process", hint=_STORE_FORMS)
    if scheme == "file" and not rest.startswith("///"):
        hint = "such as file:///srv/data: three slashes, because the path after file:// begins with one"
        raise BadValueError(f"{shown(url)} is not an absolute path", hint=hint)
    if not rest.startswith("//"):
        raise BadValueError(f"{shown(url)} has no // after its scheme", hint=_STORE_FORMS)
    if scheme != scheme.lower():
        raise BadValueError(f"the scheme of {shown(url)} is not in lower case", hint=_STORE_FORMS)
    if url != url.strip() or re.search(r"[\t\n]", url):
        raise BadValueError(f"{shown(url)} begins or ends with a space, or is broken in two", hint=_STORE_FORMS)
    host, _, path = rest.removeprefix("//").partition("/")
    if scheme == "file":
        # Some programs decode %20 and cut at ? or #, others take them as they are: then two places have one name.
        if re.search("[%?#]", path):
            hint = "write the path as it is, spaces too; a name that has one of them cannot be used"
            raise BadValueError(f"{shown(url)} has one of the characters % ? #", hint=hint)
    elif not host:
        raise BadValueError(f"{shown(url)} names no bucket or host", hint=_STORE_FORMS)
    path = path.removesuffix("/")
    if path and any(segment in ("", ".", "..") for segment in path.split("/")):
        raise BadValueError(f"{shown(url)} has an empty, . or .. segment", hint="write the plain path")
    return f"{scheme}://{host}/{path}" if path or scheme == "file" else f"{scheme}://{host}"


def _memory_allowed() -> bool:
    from storaged.stores.registry import memory_allowed  # the stores are slow to import, and seldom needed here

    return memory_allowed()


def check_catalog_url(url: str) -> str:
    """The URL of a catalog. Raises BadValueError, which never repeats the URL: it may hold a password."""
    try:
        parsed = make_url(url) if len(url) <= _LONGEST else None
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None:
        raise BadValueError("this is not the URL of a database", hint=_CATALOG_FORMS)
    if parsed.password is not None or any("password" in option for option in parsed.query):
        raise BadValueError("a password cannot stand in this file", hint=SECRETS_HINT)
    if parsed.drivername == "sqlite":
        if parsed.host or parsed.username or not parsed.database or re.search("[%?]", url):
            raise BadValueError("an SQLite URL has three slashes and then a plain file name", hint=_CATALOG_FORMS)
        if parsed.database.startswith((":", "file:", "~")):
            raise BadValueError(f"{shown(parsed.database)} is not a plain file", hint=_CATALOG_FORMS)
    elif parsed.drivername not in ("postgresql", "postgresql+psycopg"):
        raise BadValueError(f"{shown(parsed.drivername)} is no kind of catalog", hint=_CATALOG_FORMS)
    return url


EndpointUrl: TypeAlias = Annotated[str, AfterValidator(check_endpoint)]
LogPath: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(check_log_path)]
StoreUrl: TypeAlias = Annotated[str, AfterValidator(check_store_url)]
CatalogUrl: TypeAlias = Annotated[str, AfterValidator(check_catalog_url)]


def resolved_catalog_url(url: str, base: Path) -> str:
    """A checked catalog URL with an SQLite file made absolute, relative to `base`."""
    parsed = make_url(url)
    if parsed.drivername != "sqlite":
        return url
    return URL.create("sqlite", database=str(base / (parsed.database or ""))).render_as_string()


def file_location(path: str | Path) -> Location:
    """The place of a local path, links resolved (what does not exist yet counts as it is written)."""
    return ("file", *Path(os.path.realpath(path)).parts)


def store_location(url: str) -> Location:
    """The place that a checked store URL names."""
    scheme, _, rest = url.partition("://")
    return file_location(rest) if scheme == "file" else (scheme, *rest.split("/"))


def catalog_location(url: str) -> Location | None:
    """The place of an SQLite catalog's file (absolute URL); None for a server."""
    parsed = make_url(url)
    return file_location(parsed.database or "") if parsed.drivername == "sqlite" else None


def location_text(location: Location) -> str:
    """A location as a person would write it."""
    return str(Path(*location[1:])) if location[0] == "file" else f"{location[0]}://{'/'.join(location[1:])}"
