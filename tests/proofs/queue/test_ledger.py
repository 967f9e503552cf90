"""A proof goes on where it was killed."""

from __future__ import annotations

from collections import Counter

from proofs.queue.ledger import Chunk, Ledger, fingerprint


def test_chunks_that_are_done_stay_done_and_half_a_line_is_done_again(tmp_path):
    ledger = Ledger("random", tmp_path)
    ledger.add("seeds 0 to 9", Chunk(Counter(worlds=10, agreed=7), {"told x": ["seed 3: w1"]}))
    [file] = tmp_path.iterdir()
    with file.open("a") as out:
        out.write('{"chunk": "seeds 10 to 19", "coun')

    again = Ledger("random", tmp_path)

    assert set(again.done) == {"seeds 0 to 9"}
    assert again.total.counts == Counter(worlds=10, agreed=7)
    assert again.total.examples == {"told x": ["seed 3: w1"]}

    again.add("seeds 10 to 19", Chunk(Counter(worlds=10)))

    assert Ledger("random", tmp_path).total.counts["worlds"] == 20


def test_what_was_proved_of_other_code_does_not_count(tmp_path):
    ledger = Ledger("random", tmp_path)
    ledger.add("seeds 0 to 9", Chunk(Counter(worlds=10)))
    [file] = tmp_path.iterdir()
    file.rename(tmp_path / file.name.replace(fingerprint(), "0" * 12))

    assert Ledger("random", tmp_path).done == {}


def test_examples_are_few_and_counts_are_all():
    total = Chunk()
    for seed in range(20):
        one = Chunk()
        one.found("violated: so", f"seed {seed}")
        total.add(one)

    assert total.counts["violated: so"] == 20
    assert total.examples["violated: so"] == [f"seed {seed}" for seed in range(5)]
