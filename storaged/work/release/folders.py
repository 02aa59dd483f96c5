"""Folders of a root that releases leave empty, where a dataset wants them removed."""

from __future__ import annotations

from contextlib import AbstractContextManager

from storaged.model import Placement
from storaged.stores.base import Folders, NoFolders
from storaged.work.context import Context


def to_empty(context: Context, p: Placement) -> AbstractContextManager[Folders]:
    """The folders above an original key that is about to be deleted; none if its dataset keeps them."""
    wanted = context.settings.datasets[p.dataset].remove_empty_folders
    return context.root(p.dataset).above(p.name) if wanted else NoFolders()
