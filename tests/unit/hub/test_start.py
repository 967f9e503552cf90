"""JupyterHub's programs leave work out that they never need, and nothing that they might."""

from __future__ import annotations

import subprocess
import sys


def test_the_grammar_is_built_when_an_address_is_checked_and_not_before() -> None:
    script = """
from footplate_hub.jupyterhub.start import put_off_the_grammar
import sys
put_off_the_grammar()
import jsonschema
before = "lark" in sys.modules
check = jsonschema.Draft202012Validator({"format": "iri"}, format_checker=jsonschema.FormatChecker()).is_valid
print(before, check("https://exämple.org/ü"), check("no address"), "lark" in sys.modules)
"""

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert said.split() == ["False", "True", "False", "True"]


def test_a_program_gets_its_own_arguments() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "footplate_hub.jupyterhub.start", "jupyterhub", "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.split(".")[0].isdigit()
