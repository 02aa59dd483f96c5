"""The catalog's stable face for people, `storagectl sql` and dashboards: views that outlive changes of the tables.

Sizes are bytes. Instants are ISO 8601 text in UTC on SQLite and `timestamptz` on Postgres. The views are built anew by
every create and upgrade, so on Postgres a GRANT on them must be given again after an upgrade.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from storaged.clock import DAY

VIEWS: Final[Mapping[str, tuple[str, tuple[tuple[str, str], ...]]]] = MappingProxyType(
    {
        "v_datasets": (
            "One row a dataset, with what it holds now.",
            (
                ("dataset", "name"),
                ("root", "where its users see it (URL)"),
                ("tier", "tier whose rank and prices its original keys have"),
                ("owner", "who answers for it"),
                ("tags", "JSON object of text"),
                ("readers", "raw: programs read its paths; storaged: everybody reads through storaged"),
                ("hold", "reason of a legal hold on all of it"),
                ("pin", "tier that a person fixed for all of it"),
                ("table_format", "delta, hudi or iceberg: of the first such table in it"),
                ("versioning", "whether its root keeps versions: off, enabled or suspended"),
                ("objects", "objects that exist"),
                ("moved_objects", "of these, objects whose content is no longer at the original key"),
                ("size", "content of its objects"),
                ("stored_bytes", "what its objects' current places take"),
                ("registered_at", "when it was first known"),
                ("scanned_at", "end of the last whole scan"),
                ("collections", "things of many files in it, such as tables and arrays; see v_collections"),
            ),
        ),
        "v_collections": (
            "One row a collection: files that are one thing to the program that wrote them, as found by the scan.",
            (
                ("dataset", "name of its dataset"),
                ("prefix", "folder that it is in, or what its names begin with; empty: all of the root"),
                ("kind", "delta, zarr, restic, ..."),
                ("marker", "a key that shows it"),
                ("found_at", "when it was first found"),
            ),
        ),
        "v_objects": (
            "One row an object, those that users removed included.",
            (
                ("dataset", "name of its dataset"),
                ("object", "name under the dataset's root"),
                ("generation", "counts the contents that users wrote under this name"),
                ("size", "content"),
                ("tier", "tier of the current place; none once removed"),
                ("codec", "how the current place encodes the content"),
                ("stored_bytes", "what the current place takes; of a packed object, its share"),
                ("storage_class", "the store's name of the class that the current place is in"),
                ("state", "raw: at its original key; moved: elsewhere; removed: by its users"),
                ("created_at", "when this generation was first known to exist"),
                ("modified_at", "modification time of the users' object"),
                ("removed_at", "when its removal was seen"),
                ("last_access", "last read that a log told of"),
                ("reads_per_day", "decayed rate of reads now"),
                ("bytes_read_per_day", "decayed rate of bytes read now"),
                ("hold", "reason of a legal hold on it or its dataset"),
                ("pin", "tier that a person fixed for it or its dataset"),
                ("in_grace_until", "until when the place before the current one is kept and undo is cheap"),
                ("locked_until", "until when the store refuses to delete the original key"),
                ("stuck", "why its store would not delete what is at its original key"),
                ("not_taken", "why a codec that was asked for did not take this generation"),
                ("digest", "xxh3-128 of the content, hex; empty until storaged read it"),
                ("damaged", "what verify found wrong with its current place"),
                ("edition", "attempt that made another file of the same table of it; NULL: as its user wrote it"),
            ),
        ),
        "v_jobs": (
            "One row a job.",
            (
                ("job", "id"),
                ("kind", "rewrite, or return to the original keys"),
                ("dataset", "name of its dataset"),
                ("plan", "id of the plan that made it"),
                ("state", "queued, running, done, failed or cancelled"),
                ("reason", "the policy's sentence, or who asked"),
                ("tries", "how often a worker took it up"),
                ("objects", "objects in it"),
                ("pending", "of these, not yet dealt with"),
                ("done", "of these, done"),
                ("skipped", "of these, skipped: not as planned any more, or nothing to gain"),
                ("failed", "of these, failed"),
                ("size", "content of its objects"),
                ("before_bytes", "stored bytes before, of the objects done"),
                ("after_bytes", "stored bytes after, of the objects done"),
                ("worker", "who runs it, or ran it last"),
                ("error", "what went wrong last"),
                ("created_at", "when it was queued"),
                ("not_before", "when it may run next"),
                ("started_at", "when a worker first took it up"),
                ("lease_until", "when another worker may take it over"),
                ("finished_at", "when it ended"),
                ("pack", "name of the pack that it makes of its objects; none: it makes none"),
            ),
        ),
        "v_plans": (
            "One row a plan.",
            (
                ("plan", "id"),
                ("hash", "digest of its list"),
                ("state", "draft, saved, applied or discarded"),
                ("made_at", "when it was made"),
                ("policies", "JSON list of the policies' names"),
                ("actions", "objects that it would rewrite"),
                ("held", "objects that a limit or guard holds back"),
                ("size", "content of the objects to rewrite"),
                ("stored_bytes", "what they take now"),
                ("after_bytes", "what they are expected to take"),
                ("summary", "JSON, as printed"),
            ),
        ),
        "v_packs": (
            "One row for each pack: a blob that holds many objects.",
            (
                ("pack", "id of its blob"),
                ("dataset", "name of its objects' dataset"),
                ("tier", "tier that it is in"),
                ("key", "its key there"),
                ("stored_bytes", "what it takes"),
                ("packed_bytes", "content of all objects that were packed"),
                ("objects", "objects that have something in it, also through grace"),
                ("live_objects", "objects whose current place it is"),
                ("live_share", "of the content that was packed, the share whose current place it is: 0 to 1"),
                ("created_at", "when it was begun"),
                ("kept_share", "the same with what is kept through grace: what a policy's `repack_below` looks at"),
            ),
        ),
        "v_restores": (
            "One row for each readable copy that was asked for of what is in an archive class.",
            (
                ("restore", "id"),
                ("dataset", "name of its dataset"),
                ("object", "name under the dataset's root"),
                ("tier", "tier that the stored thing is in; of an original key, the dataset's"),
                ("storage_class", "the store's name of its class, as the catalog holds it"),
                ("stored_bytes", "what the stored thing takes"),
                ("state", "warming, readable, expired or failed: as the store said when it was last looked at"),
                ("speed", "the store's word: Expedited, Standard or Bulk"),
                ("days", "how long the copy shall be kept"),
                ("asked_at", "when it was asked for last"),
                ("expected_at", "when it should be readable, by what the store says of this class and speed"),
                ("looked_at", "when the store was last asked"),
                ("ready_at", "when it was first seen readable"),
                ("readable_until", "when the copy goes; none where it stays"),
                ("actor", "which program or person asked for it"),
                ("error", "what went wrong"),
                ("objects", "objects that wait for it: of a pack all whose content is in it now"),
            ),
        ),
        "v_audit": (
            "One row for everything that was done.",
            (
                ("id", "counts up"),
                ("at", "when"),
                ("kind", "swap, undo, release-intent, released, adopt, remove, eject, drop, hold, pin, ..."),
                ("dataset", "name of the dataset"),
                ("object", "name under the dataset's root"),
                ("job", "id of the job that did it"),
                ("plan", "id of the plan that asked for it"),
                ("actor", "which program or person"),
                ("detail", "JSON"),
            ),
        ),
    }
)


def create(connection: sa.Connection) -> None:
    """Build every view in the connection's transaction. On Postgres with comments, which psql's `\\d+` shows."""
    postgres = connection.dialect.name == "postgresql"
    for name, select in selects(connection.dialect.name).items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {select}")
        if postgres:
            description, columns = VIEWS[name]
            connection.exec_driver_sql(f"COMMENT ON VIEW {name} IS {_quoted(description)}")
            for column, text in columns:
                connection.exec_driver_sql(f'COMMENT ON COLUMN {name}."{column}" IS {_quoted(text)}')


def drop(connection: sa.Connection) -> None:
    """Drop every view that exists, in the connection's transaction."""
    for name in VIEWS:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")


def selects(dialect: str) -> dict[str, str]:
    """The SELECT of each view, for "sqlite" or "postgresql"."""
    at, rate = (_SQLITE_AT, _sqlite_rate()) if dialect == "sqlite" else (_POSTGRES_AT, _postgres_rate())

    def written(select: str) -> str:
        select = re.sub(r"AT\(((?:.|\n)+?)\) AS", lambda found: at.replace("$us", found[1]) + " AS", select)
        return re.sub(r"RATE\((.+?)\) AS", lambda found: rate.replace("$score", found[1]) + " AS", select)

    return {name: written(select) for name, select in _SELECTS.items()}


# Plain SQL of both databases, but for AT(microseconds) and RATE(score), which each writes in its own way.
_SELECTS: Final = {
    "v_datasets": """
SELECT d.name AS dataset, d.root, t.name AS tier, d.owner, d.tags, d.readers, d.hold, p.name AS pin,
  (SELECT c.kind FROM collections c WHERE c.dataset_id = d.id AND c.kind IN ('delta', 'hudi', 'iceberg')
   ORDER BY c.prefix LIMIT 1) AS table_format,
  d.versioning,
  coalesce(o.objects, 0) AS objects, coalesce(o.moved, 0) AS moved_objects,
  coalesce(o.size, 0) AS size, coalesce(o.stored_bytes, 0) AS stored_bytes,
  AT(d.registered_us) AS registered_at, AT(d.scanned_us) AS scanned_at,
  (SELECT count(*) FROM collections c WHERE c.dataset_id = d.id) AS collections
FROM datasets d JOIN tiers t ON t.id = d.tier_id LEFT JOIN tiers p ON p.id = d.pin_tier_id
LEFT JOIN (
  SELECT dataset_id, CAST(sum(objects) AS BIGINT) AS objects,
    CAST(sum(CASE WHEN raw_state = 'current' THEN 0 ELSE objects END) AS BIGINT) AS moved,
    CAST(sum(size) AS BIGINT) AS size, CAST(sum(stored_bytes) AS BIGINT) AS stored_bytes
  FROM object_totals WHERE removed = 0 GROUP BY dataset_id
) o ON o.dataset_id = d.id""",
    "v_collections": """
SELECT d.name AS dataset, c.prefix, c.kind, c.marker, AT(c.found_us) AS found_at
FROM collections c JOIN datasets d ON d.id = c.dataset_id""",
    "v_objects": """
SELECT d.name AS dataset, o.name AS object, o.generation, o.size, t.name AS tier, o.codec, o.stored_bytes,
  CASE WHEN cb.id IS NULL THEN o.raw_class WHEN cb.storage_class = '' THEN t.storage_class ELSE cb.storage_class END
    AS storage_class,
  CASE WHEN o.removed_us IS NOT NULL THEN 'removed' WHEN o.raw_state = 'current' THEN 'raw' ELSE 'moved' END AS state,
  AT(o.created_us) AS created_at, AT(o.mtime_us) AS modified_at, AT(o.removed_us) AS removed_at,
  AT(o.last_read_us) AS last_access,
  RATE(o.heat_reads) AS reads_per_day, RATE(o.heat_bytes) AS bytes_read_per_day,
  coalesce(o.hold, d.hold) AS hold, coalesce(p.name, dp.name) AS pin,
  AT(CASE WHEN o.raw_state = 'superseded' THEN o.raw_until_us ELSE
    (SELECT max(r.until_us) FROM replicas r WHERE r.object_id = o.id AND r.state = 'superseded'
     AND NOT r.overwritten) END) AS in_grace_until,
  AT(nullif(o.locked_until_us, 4611686018427387904)) AS locked_until,
  o.stuck, CASE WHEN o.no_gain = o.generation THEN o.not_taken END AS not_taken, o.digest,
  CASE WHEN c.blob_id IS NULL THEN o.damaged ELSE c.damaged END AS damaged, nullif(o.edition, '') AS edition
FROM objects o JOIN datasets d ON d.id = o.dataset_id LEFT JOIN tiers t ON t.id = o.tier_id
LEFT JOIN replicas c ON c.object_id = o.id AND c.state = 'current' LEFT JOIN blobs cb ON cb.id = c.blob_id
LEFT JOIN tiers p ON p.id = o.pin_tier_id LEFT JOIN tiers dp ON dp.id = d.pin_tier_id""",
    "v_jobs": """
SELECT j.id AS job, j.kind, d.name AS dataset, j.plan_id AS plan, j.state, j.reason, j.tries,
  coalesce(i.objects, 0) AS objects, coalesce(i.pending, 0) AS pending, coalesce(i.done, 0) AS done,
  coalesce(i.skipped, 0) AS skipped, coalesce(i.failed, 0) AS failed, coalesce(i.size, 0) AS size,
  coalesce(i.before_bytes, 0) AS before_bytes, coalesce(i.after_bytes, 0) AS after_bytes, j.worker, j.error,
  AT(j.created_us) AS created_at, AT(nullif(j.not_before_us, 0)) AS not_before, AT(j.started_us) AS started_at,
  AT(j.lease_until_us) AS lease_until, AT(j.finished_us) AS finished_at, j.pack
FROM jobs j JOIN datasets d ON d.id = j.dataset_id
LEFT JOIN (
  SELECT job_id, count(*) AS objects, count(*) FILTER (WHERE state = 'pending') AS pending,
    count(*) FILTER (WHERE state = 'done') AS done, count(*) FILTER (WHERE state = 'skipped') AS skipped,
    count(*) FILTER (WHERE state = 'failed') AS failed, CAST(sum(size) AS BIGINT) AS size,
    CAST(sum(before_bytes) AS BIGINT) AS before_bytes, CAST(sum(after_bytes) AS BIGINT) AS after_bytes
  FROM job_items GROUP BY job_id
) i ON i.job_id = j.id""",
    "v_plans": """
SELECT p.id AS plan, p.hash, p.state, AT(p.made_us) AS made_at, p.policies,
  coalesce(i.actions, 0) AS actions, coalesce(i.held, 0) AS held, coalesce(i.size, 0) AS size,
  coalesce(i.stored_bytes, 0) AS stored_bytes, coalesce(i.after_bytes, 0) AS after_bytes, p.summary
FROM plans p
LEFT JOIN (
  SELECT plan_id, count(*) - count(held) AS actions, count(held) AS held,
    CAST(sum(CASE WHEN held IS NULL THEN size END) AS BIGINT) AS size,
    CAST(sum(CASE WHEN held IS NULL THEN stored_bytes END) AS BIGINT) AS stored_bytes,
    CAST(sum(CASE WHEN held IS NULL THEN after_bytes END) AS BIGINT) AS after_bytes
  FROM plan_items GROUP BY plan_id
) i ON i.plan_id = p.id""",
    "v_packs": """
SELECT b.id AS pack, d.name AS dataset, t.name AS tier, b.key, b.size AS stored_bytes, b.packed_bytes,
  coalesce(i.objects, 0) AS objects, coalesce(i.live_objects, 0) AS live_objects,
  coalesce(i.live_bytes, 0) * 1.0 / b.packed_bytes AS live_share, AT(b.created_us) AS created_at,
  b.live_bytes * 1.0 / b.packed_bytes AS kept_share
FROM blobs b JOIN datasets d ON d.id = b.dataset_id JOIN tiers t ON t.id = b.tier_id
LEFT JOIN (
  SELECT r.blob_id, count(*) AS objects, count(*) FILTER (WHERE r.state = 'current') AS live_objects,
    CAST(sum(CASE WHEN r.state = 'current' THEN r.length ELSE 0 END) AS BIGINT) AS live_bytes
  FROM replicas r JOIN blobs p ON p.id = r.blob_id AND p.packed_bytes > 0
  GROUP BY r.blob_id
) i ON i.blob_id = b.id
WHERE b.packed_bytes > 0""",
    "v_restores": """
SELECT r.id AS restore, d.name AS dataset, o.name AS object,
  CASE WHEN r.blob_id IS NULL THEN dt.name ELSE bt.name END AS tier,
  CASE WHEN r.blob_id IS NULL THEN o.raw_class ELSE bt.storage_class END AS storage_class,
  CASE WHEN r.blob_id IS NULL THEN o.size ELSE b.size END AS stored_bytes,
  r.state, r.speed, r.days, AT(r.asked_us) AS asked_at, AT(r.expected_us) AS expected_at, AT(r.looked_us) AS looked_at,
  AT(r.ready_us) AS ready_at, AT(r.until_us) AS readable_until, r.actor, r.error,
  CASE WHEN r.blob_id IS NULL THEN 1 ELSE
    (SELECT count(*) FROM replicas m WHERE m.blob_id = r.blob_id AND m.state = 'current') END AS objects
FROM restores r JOIN objects o ON o.id = r.object_id JOIN datasets d ON d.id = o.dataset_id
JOIN tiers dt ON dt.id = d.tier_id LEFT JOIN blobs b ON b.id = r.blob_id LEFT JOIN tiers bt ON bt.id = b.tier_id""",
    "v_audit": """
SELECT id, AT(at_us) AS at, kind, dataset, object, job_id AS job, plan_id AS plan, actor, detail FROM audit""",
}

_SQLITE_AT: Final = "strftime('%Y-%m-%dT%H:%M:%SZ', ($us) / 1000000, 'unixepoch')"
_POSTGRES_AT: Final = "to_timestamp(($us) / 1000000.0::double precision)"

# The rate per day that a forward-decayed log-score s means now, as storaged.heat.rate has it: with a half-life h, both
# instants in days since 1970 and decay = ln 2 / h, decay * e^(s - decay * now) = decay * 2^(s / ln 2 - now / h).
_HALF_LIFE_US: Final = (
    "coalesce((SELECT CAST(value AS DOUBLE PRECISION) FROM meta WHERE key = 'half_life_us'), 2592000000000.0)"
)
_DECAY: Final = f"({math.log(2) * DAY!r} / {_HALF_LIFE_US})"


def _postgres_rate() -> str:
    now_us = "extract(epoch FROM now())::double precision * 1000000"
    exponent = f"$score / {math.log(2)!r} - {now_us} / {_HALF_LIFE_US}"
    # Postgres raises where no double holds the result.
    power = f"power(2.0::double precision, greatest(-1000, least(1000, {exponent})))"
    return f"CASE WHEN $score IS NULL THEN 0 ELSE {_DECAY} * {power} END"


def _sqlite_rate() -> str:
    # Many builds of SQLite have no exp(). 2^y = 2^n * 2^f, n the nearest integer: a shift, and a series in f * ln 2.
    now_us = "(julianday('now') - 2440587.5) * 86400000000.0"
    series = "1.0"
    for k in range(11, 0, -1):  # |f| <= 1/2: the first term left out is below 1e-14
        series = f"(1.0 + f * {math.log(2) / k!r} * {series})"
    return " ".join(
        (
            "CASE WHEN $score IS NULL THEN 0.0 ELSE (SELECT CASE",
            f"WHEN n > 62 THEN 9e999 WHEN n >= 0 THEN {_DECAY} * {series} * (1 << n)",
            f"WHEN n < -62 THEN 0.0 ELSE {_DECAY} * {series} / (1 << -n) END",
            "FROM (SELECT y, CAST(round(y) AS INTEGER) AS n, y - round(y) AS f",
            f"FROM (SELECT $score / {math.log(2)!r} - {now_us} / {_HALF_LIFE_US} AS y))) END",
        )
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
