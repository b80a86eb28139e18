"""What Alembic runs: the steps to the newest schema, on the connection and in the transaction that it is given."""

from alembic import context

from orchestrator.history import schema

context.configure(
    connection=context.config.attributes["connection"], target_metadata=schema.metadata, transactional_ddl=True
)
context.run_migrations()
