"""Schema 0007: identities of files lose their device, those of buckets stay; and roots from which something was moved
count as claimed."""

from __future__ import annotations

import sqlalchemy as sa

from storaged.catalog.engine import create_catalog, open_catalog, parse_url, upgrade_catalog
from storaged.catalog.entries import present
from storaged.catalog.schema import blobs, datasets, objects, tiers
from tests.catalog.test_totals import before, prepared, row

FILE = "fe00:1a:2f:18b0c1:18b0c2"
BUCKET = {"etag": "d41d8cd98f00b204e9800998ecf8427e:1790096400", "version": "d41d8cd9-2:1790096400:3HL4kqtJlcpXro"}


def test_an_upgrade_takes_the_device_out_of_files_identities_only(empty_url: str) -> None:
    with create_catalog(empty_url) as catalog:
        prepared(catalog)
        with catalog.begin() as conn:
            conn.execute(sa.update(datasets).where(datasets.c.id == 1).values(root="file:///srv/lake"))
            conn.execute(sa.update(datasets).where(datasets.c.id == 2).values(root="s3://bucket/lake"))
            conn.execute(sa.update(tiers).where(tiers.c.id == 1).values(url="file:///srv/cold"))
            rows = [row(n, dataset_id=1) for n in (1, 2)] + [row(n, dataset_id=2) for n in (3, 4)]
            identities = (FILE, "ff:1a:2f:-18b0c1:18b0c2", *BUCKET.values())
            rows = [r | {"raw_identity": i} for r, i in zip(rows, identities, strict=True)]
            conn.execute(objects.insert(), rows)
            conn.execute(sa.update(objects).where(objects.c.name == "00001").values(raw_state="superseded"))
            blob = {"tier_id": 1, "key": "k", "size": 3, "state": "live", "created_us": 0}
            conn.execute(blobs.insert().values(id="a", identity=FILE, **blob))
    engine = sa.create_engine(parse_url(empty_url))
    with engine.begin() as conn:
        before(conn)
    engine.dispose()
    upgrade_catalog(empty_url)
    with open_catalog(empty_url) as catalog, catalog.read() as conn:
        found = conn.execute(sa.select(objects.c.raw_identity).order_by(objects.c.id)).scalars().all()
        assert found == ["1a:2f:18b0c1:18b0c2", "1a:2f:-18b0c1:18b0c2", *BUCKET.values()]
        assert conn.execute(sa.select(blobs.c.identity)).scalar_one() == "1a:2f:18b0c1:18b0c2"
        claimed = conn.execute(sa.select(datasets.c.claimed).order_by(datasets.c.id)).scalars().all()
        assert claimed == [True, False]


def test_an_entry_of_before_is_read_in_the_form_of_today() -> None:
    assert present(FILE) == "1a:2f:18b0c1:18b0c2"
    for same in ("1a:2f:18b0c1:18b0c2", "", *BUCKET.values()):
        assert present(same) == same
