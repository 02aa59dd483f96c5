#!/usr/bin/env bash
# DuckDB 2.0.0, DataFusion 55.0.0 and pyarrow 26.0.1 on one Parquet column of doubles with a NaN, as different writers
# write it. Statistics of Parquet leave NaN out, and what a query gives depends on whether the file has them. To DuckDB and
# DataFusion NaN is above all numbers, and in memory `x > 5` finds it; of a file of pyarrow's or polars' they skip the row
# group, and of DuckDB's own, which has no statistics there, they do not. max(x) is NaN or 3; of polars' file DuckDB says
# that the largest is NaN and that none is where isnan(x). To pyarrow NaN is no number; yet of a file whose statistics lie
# within the bound `x <= 3` keeps it. polars 2.1.0 tells the same of all.
# Expected: which rows are found does not depend on who wrote them. Whoever rewrites Parquet, and keeps statistics, drops
# them or makes them, changes answers. A column without any is right everywhere.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
  duckdb==2.0.0 datafusion==55.0.0 polars==2.1.0 pyarrow==26.0.1 2>/dev/null
cd "$place"
"$place/venv/bin/python" - <<'P'
import datafusion
import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

rows = pa.table({"x": [1.0, 2.0, float("nan"), 3.0]})
pq.write_table(rows, "pyarrow.parquet")
pq.write_table(rows, "without.parquet", write_statistics=False)
polars.from_arrow(rows).write_parquet("polars.parquet")
connection = duckdb.connect()
connection.execute("CREATE TABLE held AS FROM rows")
connection.execute("COPY held TO 'duckdb.parquet'")


def asked(path: str | None) -> tuple[object, ...]:
    """What each engine says of a file, or of the rows in memory."""

    def duck(what: str, where: str = "") -> object:
        source = f"'{path}'" if path else "held"
        return connection.execute(f"SELECT {what} FROM {source} {where}").fetchall()[0][0]

    context = datafusion.SessionContext()
    if path:
        context.register_parquet("t", path)
    else:
        context.from_arrow(rows, "t")

    def fusion(what: str, where: str = "") -> object:
        return context.sql(f"SELECT {what} AS n FROM t {where}").to_pydict()["n"][0]

    lazy = polars.scan_parquet(path) if path else polars.from_arrow(rows).lazy()
    return (
        duck("count(*)", "WHERE x > 5"),
        duck("count(*)", "WHERE isnan(x)"),
        str(duck("max(x)")),
        fusion("count(*)", "WHERE x > 5"),
        str(fusion("max(x)")),
        ds.dataset(path or rows).count_rows(filter=ds.field("x") <= 3),
        lazy.filter(polars.col("x") > 5).collect().height,
    )


found = {name: asked(f"{name}.parquet") for name in ("pyarrow", "polars", "duckdb", "without")}
found["memory"] = asked(None)
print(f"duckdb {duckdb.__version__}, datafusion {datafusion.__version__}, pyarrow {pa.__version__}")
print("DuckDB x > 5, isnan, max; DataFusion x > 5, max; pyarrow x <= 3; polars x > 5:")
for name, answers in found.items():
    print(f"{name:8}", *answers)
right = (1, 1, "nan", 1, "nan", 3, 1)
same = all(found[name] == right for name in ("duckdb", "without", "memory"))
pyarrow, others = (0, 0, "3.0", 0, "3.0", 4, 1), (0, 0, "nan", 0, "3.0", 4, 1)
raise SystemExit(not (same and found["pyarrow"] == pyarrow and found["polars"] == others))
P
