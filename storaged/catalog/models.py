"""Forecast models that were kept, by version. One at most is in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.schema_models import models

MOST: Final = 20  # versions that are kept


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A version: of the days before `cut_day` (since 1970); `text` and `report` are JSON."""

    version: int
    made_us: int
    cut_day: int
    half_life_us: int
    in_use: bool
    text: str
    report: str

    @property
    def called(self) -> str:
        """As people call it."""
        return f"version {self.version} of the forecast model"


def keep(conn: sa.Connection, *, made_us: int, cut_day: int, half_life_us: int, text: str, report: str) -> int:
    """Keep a model as the newest version and use it. Returns its number. Of old ones those beyond MOST are dropped."""
    use(conn, None)
    values = {"made_us": made_us, "cut_day": cut_day, "half_life_us": half_life_us, "text": text, "report": report}
    version = conn.execute(sa.insert(models).values(values | {"in_use": True}).returning(models.c.id)).scalar_one()
    newest = sa.select(models.c.id).order_by(models.c.id.desc()).limit(MOST)
    conn.execute(sa.delete(models).where(models.c.id.not_in(newest)))
    return int(version)


def use(conn: sa.Connection, version: int | None) -> bool:
    """Use this version; None: none. False where there is no such version, and nothing is changed then."""
    if version is not None and conn.execute(sa.select(models.c.id).where(models.c.id == version)).first() is None:
        return False
    conn.execute(sa.update(models).where(models.c.in_use).values(in_use=False))
    if version is not None:
        conn.execute(sa.update(models).where(models.c.id == version).values(in_use=True))
    return True


def in_use(conn: sa.Connection) -> KeptModel | None:
    """The version in use, if any."""
    row = conn.execute(sa.select(models).where(models.c.in_use)).first()
    return None if row is None else _kept(row)


def versions(conn: sa.Connection) -> Sequence[KeptModel]:
    """All that are kept, the newest first."""
    return [_kept(row) for row in conn.execute(sa.select(models).order_by(models.c.id.desc()))]


def _kept(row: sa.Row[Any]) -> KeptModel:
    return KeptModel(row.id, row.made_us, row.cut_day, row.half_life_us, row.in_use, row.text, row.report)
