"""The tables. Times are unix seconds, documents are JSON text, so that both databases hold the same."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

__all__ = [
    "address_blocks",
    "attempts",
    "blob_owners",
    "blob_parts",
    "blob_refs",
    "blobs",
    "dependencies",
    "etas",
    "events",
    "group_settings",
    "holds",
    "jobs",
    "leader",
    "metadata",
    "node_blocks",
    "queue_settings",
    "replicas",
    "secrets",
    "spending",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Sequence = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys by itself

_RUNS = text("parent IS NOT NULL")

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("group_path", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stopping", Text),  # why its processes are being ended, until they have
    Column("priority", Text, nullable=False),
    Column("place", Double, nullable=False),  # when it got its place in line; kept through restarts
    Column("spec", Text, nullable=False),
    Column("replicas", Integer, nullable=False),
    Column("gpu", Integer, nullable=False),
    Column("declared", Boolean, nullable=False, default=False),
    Column("time_limit", Integer, nullable=False),
    Column("cluster", Text),
    Column("attempt", Integer, nullable=False, default=0),
    Column("restarts", Integer, nullable=False, default=0),
    Column("owed", Boolean, nullable=False, server_default=false()),  # others were stopped for it
    Column("alone", Boolean, nullable=False, server_default=false()),  # suspended, its array is not
    Column("submitted", Double, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    Column("reason", Text),
    Column("cause", Text),
    Column("result", Text),
    Column("parent", Text),  # the array that it is one run of; that one's row ends and goes last
    Column("array_index", Integer),
    Column("array_size", Integer),
    Column("array_next", Integer),  # of an array: the next run to be made
    Column("idempotency_key", Text),
    Column("idempotency_digest", Text),  # of the spec, so that a key used for another job is noticed
    UniqueConstraint("owner", "idempotency_key"),
    # Of runs alone: an index of all parents would be taken for "no parent", which is nearly every job.
    Index("ix_jobs_parent_state", "parent", "state", sqlite_where=_RUNS, postgresql_where=_RUNS),
    Index("ix_jobs_parent_submitted", "parent", "submitted", sqlite_where=_RUNS, postgresql_where=_RUNS),
    Index("ix_jobs_submitted_id", "submitted", "id"),
    Index("ix_jobs_state_submitted", "state", "submitted"),
    Index("ix_jobs_owner_submitted", "owner", "submitted"),
    Index("ix_jobs_group_path_submitted", "group_path", "submitted"),
)

# What jobs wait for one another for. How one ended stays with those who wait when it is deleted.
dependencies = Table(
    "dependencies",
    metadata,
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("upstream", Text, primary_key=True, index=True),
    Column("outcome", Text, nullable=False),
    Column("state", Text),  # how the upstream job ended, once it has
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    Column("outcome", Text),
    Column("cause", Text),
    Column("removed", Boolean, nullable=False, default=False),  # the engine holds nothing of it any more
    Column("gpu", Integer, nullable=False, server_default="0"),
    Column("price", Double, nullable=False, server_default="0"),  # of an hour, when it was admitted
    UniqueConstraint("job", "number"),
    Index("ix_attempts_removed", "removed"),
)

replicas = Table(
    "replicas",
    metadata,
    Column("attempt", Text, ForeignKey("attempts.id", ondelete="CASCADE"), primary_key=True),
    Column("role", Text, primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("node", Text, nullable=False),
    Column("flavor", Text, nullable=False),
    Column("gpus", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("execution", Integer, nullable=False),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("cause", Text),
    Column("message", Text, nullable=False, default=""),
    Column("address", Text),
    Column("port", Integer),
    Column("started", Double),
    Column("ended", Double),
    Column("log_size", BigInteger, nullable=False, default=0),
    Column("holder", Text),  # where an engine makes replicas again by itself: which of them may run
    Column("exit", Text),  # the whole ExitReport of its last execution
)

# What each attempt used that has ended: not of the job's, which may be deleted while budgets count it.
spending = Table(
    "spending",
    metadata,
    Column("attempt", Text, primary_key=True),
    Column("group_path", Text, nullable=False),
    Column("gpu", Integer, nullable=False),
    Column("price", Double, nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double, nullable=False),
    Index("ix_spending_ended", "ended"),
)

events = Table(
    "events",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("actor", Text),
    Column("group_path", Text),
    Column("data", Text, nullable=False),
    sqlite_autoincrement=True,  # a number is never used again, even after retention took the last row
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("stored", Double, nullable=False),
)

blob_owners = Table(
    "blob_owners",
    metadata,
    Column("digest", Text, ForeignKey("blobs.digest", ondelete="CASCADE"), primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("leased_until", Double, nullable=False),  # an upload or a look-up; not swept before
)

blob_refs = Table(
    "blob_refs",
    metadata,
    Column("digest", Text, ForeignKey("blobs.digest"), primary_key=True),
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, index=True),
)

# A tree keeps its files: once for each tree, however many jobs run it.
blob_parts = Table(
    "blob_parts",
    metadata,
    Column("tree", Text, ForeignKey("blobs.digest", ondelete="CASCADE"), primary_key=True),
    Column("digest", Text, ForeignKey("blobs.digest"), primary_key=True, index=True),
)

secrets = Table(
    "secrets",
    metadata,
    Column("holder", Text, primary_key=True),  # "user:ada" or "group:research/vision"
    Column("name", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("updated", Double, nullable=False),
)

node_blocks = Table(
    "node_blocks",
    metadata,
    Column("cluster", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("why", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("evict", Boolean, nullable=False, server_default=true()),  # False: what runs there goes on
)

# What administrators changed of groups while the service ran: whole documents over those of footplate.yaml.
group_settings = Table(
    "group_settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("time", Double, nullable=False),
)

# The same of priorities, and of clusters' policies.
queue_settings = Table(
    "queue_settings",
    metadata,
    Column("name", Text, primary_key=True),  # "priorities", or "cluster/local"
    Column("document", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("time", Double, nullable=False),
)

leader = Table(
    "leader",
    metadata,
    Column("id", Integer, primary_key=True),  # there is one row
    Column("epoch", Integer, nullable=False),  # grows with every service that takes the lead
    Column("time", Double, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("kind", Text, primary_key=True),  # "group" or "cluster"
    Column("name", Text, primary_key=True),
    Column("why", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("time", Double, nullable=False),
)

# ETA ranges that were given; when the job then started, once it has.
etas = Table(
    "etas",
    metadata,
    Column("id", _Sequence, primary_key=True),
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("given", Double, nullable=False),
    Column("low", Double, nullable=False),
    Column("middle", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("basis", Text, nullable=False),
    Column("started", Double),
    Index("ix_etas_started", "started"),
)

address_blocks = Table(
    "address_blocks",
    metadata,
    Column("address", Text, primary_key=True),
    Column("why", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("time", Double, nullable=False),
)
