"""How Alembic finds the database: the connection that shared/migrations.py hands over."""

from __future__ import annotations

from alembic import context

from shared.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
