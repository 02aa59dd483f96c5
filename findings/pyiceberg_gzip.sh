#!/usr/bin/env bash
# pyiceberg 0.12.0: a table with Iceberg's property write.metadata.compression-codec=gzip keeps the property and writes its
# metadata plain, as NNNNN-UUID.metadata.json, without a word. Expected: gzip under NNNNN-UUID.gz.metadata.json, which the
# same version reads. Seen: two plain files of JSON, none compressed. Whoever tells tables by the names of their metadata
# meets both forms for one setting, by who wrote them. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check "pyiceberg[sql-sqlite,pyarrow]==0.12.0" 2>/dev/null
"$place/venv/bin/python" - "$place" <<'P'
import json
import pathlib
import re
import sys

import pyarrow as pa
import pyiceberg
from pyiceberg.catalog.sql import SqlCatalog

place = pathlib.Path(sys.argv[1])
catalog = SqlCatalog("c", uri=f"sqlite:///{place}/catalog.db", warehouse=f"file://{place}/lake")
catalog.create_namespace("n")
rows = pa.table({"a": [1, 2, 3]})
codec = {"write.metadata.compression-codec": "gzip"}
table = catalog.create_table("n.t", schema=rows.schema, properties=codec)
table.append(rows)
found = sorted((place / "lake/n/t/metadata").glob("*.metadata.json"))
kinds = ["gzip" if f.read_bytes()[:2] == b"\x1f\x8b" else "plain" for f in found]
kept = json.loads(found[-1].read_text())["properties"] if kinds[-1] == "plain" else {}
print(f"pyiceberg {pyiceberg.__version__}: {len(found)} files of metadata: {', '.join(kinds)}; properties kept: {kept}")
named = [bool(re.fullmatch(r"\d{5}-[0-9a-f-]{36}\.metadata\.json", f.name)) for f in found]
raise SystemExit(kinds != ["plain", "plain"] or kept != codec or named != [True, True])
P
