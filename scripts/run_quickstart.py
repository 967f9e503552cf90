"""``make run``: start the platform and run the quickstart notebook through it, as a person's browser would.

The executed notebook is saved on the dev machine, where the printed link opens it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from visit import CellError, Kernel, Ran, VisitError, Visitor

ROOT = Path(__file__).resolve().parents[1]
FOOTPLATE = Path(sys.executable).parent / "footplate"
FOLDER = "footplate-quickstart"
NOTEBOOK = f"{FOLDER}/quickstart.ipynb"
SUMMARY = """
import json
print(json.dumps({"accuracy": float(accuracy), "job": job.id,
                  "events": [[event.time.timestamp(), str(event.kind)] for event in job.events()]}))
"""


def main() -> int:
    """Run it; the exit code of ``make run``."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dir", help="the platform's folder; default ~/.footplate")
    options.add_argument("--port", help="where browsers find the platform; default 8000")
    options.add_argument("--save", type=Path, help="write the executed notebook here too")
    given = options.parse_args()
    where = ["--dir", given.dir] if given.dir else []
    began = time.monotonic()
    started = verb("up", "--detach", *where, *(["--port", given.port] if given.port else []))
    print(f"The platform {'was up already' if started['already'] else f'is up after {since(began)}'}.")
    visitor = Visitor(started["link"].partition("/hub/")[0])
    try:
        visitor.log_in(started["link"])
        print(f"Logged in as {visitor.name}; JupyterLab opened after {visitor.start_machine():.1f} s.")
        notebook = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text(encoding="utf-8"))
        visitor.upload(f"{FOLDER}/train.py", (ROOT / "examples" / "train.py").read_text(encoding="utf-8"))
        visitor.save_notebook(NOTEBOOK, notebook)
        summary = run(visitor, notebook, given.save)
    except VisitError as error:
        print(f"The quickstart did not get through: {error}", file=sys.stderr)
        return 1
    finally:
        visitor.close()
    tell(summary)
    suffix = f" --dir {given.dir}" if given.dir else ""
    print(f"\nOpen it (the link works once, within five minutes; '{FOOTPLATE} open{suffix}' makes another):")
    print(f"  {verb('open', NOTEBOOK, *where)['link']}")
    print(f"Stop the platform:\n  {f'{FOOTPLATE} down{suffix}' if given.dir else 'make stop'}")
    return 0


def verb(*words: str) -> dict[str, Any]:
    """Run a verb of the command line; what it says in JSON."""
    done = subprocess.run([str(FOOTPLATE), *words, "--json"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)  # it has said why
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def run(visitor: Visitor, notebook: dict[str, Any], copy: Path | None) -> dict[str, Any]:
    """Run every code cell in a fresh kernel and save the notebook with what they said."""
    kernel = visitor.start_kernel(NOTEBOOK)
    try:
        run_cells(kernel, notebook)
        summary: dict[str, Any] = json.loads(kernel.run(SUMMARY).text)
    finally:
        visitor.save_notebook(NOTEBOOK, notebook)
        if copy is not None:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        kernel.end()
    return summary


def run_cells(kernel: Kernel, notebook: dict[str, Any]) -> None:
    """Run the code cells from top to bottom; the first that raises ends it."""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        print(f"\n  | {source.strip().replace(chr(10), f'{chr(10)}  | ')}", flush=True)
        try:
            keep(cell, kernel.run(source, on_text=lambda text: print(text, end="", flush=True)))
        except CellError as error:
            keep(cell, error.ran)
            raise


def keep(cell: dict[str, Any], ran: Ran) -> None:
    """Put what a cell said into the notebook."""
    cell["outputs"], cell["execution_count"] = ran.outputs, ran.count


def tell(summary: dict[str, Any]) -> None:
    """The answer, and the timeline of the script's job."""
    print(f"\nThe network read {summary['accuracy']:.1%} of the digits that it had never seen.")
    print(f"\nTimeline of {summary['job']}:")
    first = summary["events"][0][0] if summary["events"] else 0.0
    for when, kind in summary["events"]:
        print(f"  {when - first:7.3f} s  {kind}")


def since(began: float) -> str:
    """Seconds as text."""
    return f"{time.monotonic() - began:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
