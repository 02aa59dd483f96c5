"""Alembic's entry: run the revisions on the connection that `storaged.catalog.migrate.upgrade` hands over.

The views and the triggers of totals are dropped before and built after, so that no revision has to work around them.
All is one transaction; whoever began it commits it.
"""

from alembic import context

from storaged.catalog import totals, views
from storaged.catalog.schema_models import metadata
from storaged.catalog.schema_postgres import on_postgres

connection = context.config.attributes["connection"]
views.drop(connection)
totals.drop(connection)
if connection.dialect.name == "postgresql":
    on_postgres()
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite has it too; Alembic only fears the driver's own transactions, which are off
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
totals.create(connection)
views.create(connection)
