"""The only room that knows SQL: tables, migrations, and one module of queries an aggregate."""

from .database import Database, StoreError, Transaction

__all__ = ["Database", "StoreError", "Transaction"]
