"""Alembic's entry: runs the revisions on the connection that `upgrade` hands over."""

from alembic import context

from footplate_hub.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,  # `upgrade` begins transactions itself: a killed migration leaves nothing
)
with context.begin_transaction():
    context.run_migrations()
