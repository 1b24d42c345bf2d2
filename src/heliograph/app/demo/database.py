"""The shop's database: SQLite in memory, each statement in a client span with the conventions for databases."""

import sqlite3
import threading
from collections.abc import Sequence

from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer


class Database:
    """One connection, used by one thread at a time. tables: CREATE TABLE statements."""

    def __init__(self, tracer: Tracer, name: str, tables: Sequence[str]) -> None:
        self._tracer = tracer
        self._name = name
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        for table in tables:
            self._connection.execute(table)

    def execute(self, table: str, statement: str, values: Sequence[object]) -> None:
        """Run a statement about a table. Raises sqlite3.Error."""
        operation = statement.split(None, 1)[0]
        attributes = {
            "db.system.name": "sqlite",
            "db.namespace": self._name,
            "db.collection.name": table,
            "db.operation.name": operation,
            "db.query.text": statement,
        }
        with self._tracer.start_as_current_span(
            f"{operation} {table}", kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            try:
                with self._lock, self._connection:
                    self._connection.execute(statement, values)
            except sqlite3.Error as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise
