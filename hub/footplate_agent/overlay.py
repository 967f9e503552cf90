"""``setup``: packages and a script on top of the user's Python, made once and cached by content.

The overlay is a virtual environment whose ``.pth`` file adds the site-packages of the user's own, which a
venv made with ``--system-site-packages`` from a venv would skip. It is built where it stays, since scripts
in it name their interpreter by path; ``complete`` marks a whole one, and nothing is used without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from typing import Any, Dict, List, Mapping, Tuple

from .failure import PreparationFailed
from .supplies import Supplies
from .tool import Finished, run_tool

__all__ = ["make_overlay", "overlay_key", "overlay_needed"]

_SITES = (
    "import json, site, sys; "
    "print(json.dumps([p for p in sys.path if p.endswith(('site-packages', 'dist-packages'))]))"
)


def overlay_needed(setup: Mapping[str, Any]) -> bool:
    """Whether anything is to be installed."""
    return bool(setup.get("pip") or setup.get("script"))


def overlay_key(setup: Mapping[str, Any], python: str, version: str, indexes: Mapping[str, Any]) -> str:
    """The name of an overlay: same content, same name."""
    content = {
        "pip": list(setup.get("pip") or []),
        "script": setup.get("script") or "",
        "python": python,
        "version": version,
        "indexes": {name: value for name, value in indexes.items() if value},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def make_overlay(
    setup: Mapping[str, Any],
    python: str,
    indexes: Mapping[str, Any],
    env: Dict[str, str],
    supplies: Supplies,
) -> str:
    """The overlay's interpreter, installed if it is not there yet.

    Raises
    ------
    PreparationFailed
        With cause ``DependencyInstall`` and the installer's last words.
    Stopped
        If ``stop`` was set meanwhile.
    """
    version = _ask(python, "import sys; print(sys.version)", env, supplies.stop)
    key = overlay_key(setup, python, version, indexes)
    folder = os.path.join(supplies.cache.folder("overlays"), key)
    complete = os.path.join(folder, "complete")
    with supplies.cache.locked(f"overlay-{key}", supplies.stop):
        if not os.path.exists(complete):
            shutil.rmtree(folder, ignore_errors=True)
            builder = _Builder(setup, python, folder, {**env, **_index_variables(indexes)}, supplies.stop)
            builder.build()
            with open(complete, "w", encoding="ascii") as file:
                os.fsync(file.fileno())
        os.utime(complete)
    return os.path.join(folder, "bin", "python")


def _ask(python: str, code: str, env: Dict[str, str], stop: threading.Event) -> str:
    done = run_tool([python, "-c", code], env, "/", stop, 60.0)
    if done.code != 0:
        raise PreparationFailed("DependencyInstall", f"{python} does not run: {done.last_lines(1)}")
    return done.output.strip()


class _Builder:
    def __init__(
        self,
        setup: Mapping[str, Any],
        python: str,
        folder: str,
        env: Dict[str, str],
        stop: threading.Event,
    ) -> None:
        self._setup, self._python, self._folder, self._stop = setup, python, folder, stop
        self._overlay = os.path.join(folder, "bin", "python")
        self._limit = float(setup.get("time_limit") or 900)
        self._deadline = time.monotonic() + self._limit
        self._env = {
            **env,
            "VIRTUAL_ENV": folder,
            "PATH": f"{os.path.join(folder, 'bin')}:{env.get('PATH', '')}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
        }

    def build(self) -> None:
        self._step("python -m venv", [self._python, "-m", "venv", "--without-pip", self._folder])
        inner, outer = self._sites(self._overlay)[-1], self._sites(self._python)
        with open(os.path.join(inner, "_footplate_overlay.pth"), "w", encoding="utf-8") as file:
            # addsitedir reads the .pth files there too: packages in development mode come along.
            file.writelines(f"import site; site.addsitedir({path!r})\n" for path in outer)
        if self._setup.get("pip"):
            self._install([str(requirement) for requirement in self._setup["pip"]])
        if self._setup.get("script"):
            script = os.path.join(self._folder, "setup.sh")
            with open(script, "w", encoding="utf-8") as file:
                file.write(str(self._setup["script"]))
            self._step("setup.script", ["/bin/sh", "-e", script])

    def _sites(self, python: str) -> List[str]:
        paths = json.loads(_ask(python, _SITES, self._env, self._stop))
        return [str(path) for path in paths]

    def _install(self, requirements: List[str]) -> None:
        if self._run([self._overlay, "-c", "import pip"]).code != 0:
            self._step("python -m ensurepip", [self._overlay, "-m", "ensurepip", "--default-pip"])
        pip = [self._overlay, "-m", "pip", "install", "--quiet", "--no-warn-script-location"]
        self._step(f"pip install {' '.join(requirements)}", [*pip, "--", *requirements])

    def _step(self, what: str, argv: List[str]) -> None:
        done = self._run(argv)
        if done.timed_out:
            raise PreparationFailed(
                "DependencyInstall",
                f"{what} did not finish within setup.time_limit ({self._limit:g} s); raise it.",
            )
        if done.code != 0:
            raise PreparationFailed("DependencyInstall", f"{what} failed: {done.last_lines()}")

    def _run(self, argv: List[str]) -> Finished:
        left = max(0.1, self._deadline - time.monotonic())
        return run_tool(argv, self._env, "/", self._stop, left)


def _index_variables(indexes: Mapping[str, Any]) -> Dict[str, str]:
    """Where pip looks. As variables: an address may hold a password, and arguments can be read by all."""
    named: Tuple[Tuple[str, Any], ...] = (
        ("PIP_INDEX_URL", indexes.get("index_url")),
        ("PIP_EXTRA_INDEX_URL", " ".join(indexes.get("extra_index_urls") or [])),
        ("PIP_FIND_LINKS", " ".join(indexes.get("find_links") or [])),
    )
    return {name: str(value) for name, value in named if value}
