"""The proofs share no code with what they prove."""

from __future__ import annotations

import ast
from pathlib import Path

ASKS = {  # what is proved, and who asks it
    "parts.py": {"schedule"},
    "story.py": {"schedule"},
    "lives.py": {"schedule", "memory"},
    "test_proofs.py": {"schedule"},
    "fixes.py": {"schedule", "advise", "changes"},
}


def test_the_proofs_share_only_the_data_model_with_the_queue():
    shared = {}
    for file in Path(__file__).parent.glob("*.py"):
        found = {
            node.module
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("footplate_")
        }
        found -= {"footplate_hub.queue.model", "footplate_spec.reasons"}
        shared[file.name] = found - {f"footplate_hub.queue.{module}" for module in ASKS.get(file.name, ())}

    assert {name: modules for name, modules in shared.items() if modules} == {}
