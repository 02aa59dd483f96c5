"""From the options of a call to an open catalog and the context that all work takes. Imported only by what runs."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storaged.catalog.engine import Catalog, open_catalog
from storaged.cli import started
from storaged.cli.options import Options
from storaged.clock import SystemClock
from storaged.config.secrets import catalog_url
from storaged.config.settings import Settings, find_config, load_settings
from storaged.errors import StoragedError
from storaged.private import make_directory
from storaged.stores.base import Store
from storaged.work.context import Context


def load(options: Options) -> Settings:
    """The configuration of this call. Raises UsageError where there is none, ConfigError for what is wrong with it."""
    settings = load_settings(find_config(options.config, os.environ))
    started()
    return settings


def place(settings: Settings) -> str:
    """The catalog's URL with its password: for opening it and nothing else."""
    return catalog_url(settings, os.environ)


def context_of(
    settings: Settings,
    catalog: Catalog,
    *,
    tolerant: bool = False,
    wrap: Callable[[Store], Store] = lambda store: store,
) -> Context:
    """The context of this process, acting in the user's name."""
    return Context(settings, catalog, SystemClock(), actor=f"cli:{_user()}", wrap=wrap, tolerant=tolerant)


@contextmanager
def opened(options: Options, *, tolerant: bool = False) -> Iterator[Context]:
    """The context of this call while the block runs, on an open catalog; `tolerant`: see there. Raises as `load` and
    `open_catalog` do."""
    settings = load(options)
    with open_catalog(place(settings), wait_s=options.lock_wait_s) as catalog:
        yield context_of(settings, catalog, tolerant=tolerant)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have a user id without a name
        return str(os.getuid())


def make_state_dir(settings: Settings) -> None:
    """The directory for spools and temporary files. Raises StoragedError if it cannot be made."""
    try:
        make_directory(settings.state_dir)
    except OSError as error:
        raise StoragedError(f"the state directory {settings.state_dir} cannot be made: {error.strerror}") from error
