"""What ``jupyterhub -f`` reads: ours, then the owner's ``jupyterhub_config.py`` in the data folder."""

import os
from pathlib import Path

from footplate_hub.jupyterhub.configure import configure

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - JupyterHub provides it
folder = Path(os.environ["FOOTPLATE_DIR"])
configure(c, folder)
if (folder / "jupyterhub_config.py").exists():
    load_subconfig(str(folder / "jupyterhub_config.py"))  # type: ignore[name-defined]  # noqa: F821
