"""When a job last saved."""

from __future__ import annotations

import os

from footplate_agent.saved import last_saved


def test_the_newest_entry_of_the_checkpoint_folder_counts(tmp_path):
    assert last_saved(None) is None
    assert last_saved(tmp_path / "missing") is None
    assert last_saved(tmp_path) is None
    for name, when in (("step-1", 1000), ("step-2", 2000)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (when, when))
    assert last_saved(str(tmp_path)) == 2000
