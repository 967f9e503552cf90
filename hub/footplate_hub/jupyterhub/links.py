"""Login for one person: a link that works once, made by whoever can write to the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from jupyterhub.utils import url_path_join
from traitlets import Unicode

from ..supervisor.links import LINK_SECONDS, Redeemed, redeem

__all__ = ["LinkAuthenticator"]

_ANOTHER = "Run 'footplate open' in a terminal on this machine for a new one."
_SENTENCES = {
    None: f"This page needs a login link. {_ANOTHER}",
    Redeemed.EXPIRED: f"This login link is older than {LINK_SECONDS / 60:.0f} minutes. {_ANOTHER}",
    Redeemed.UNKNOWN: f"This login link was used already, or was never made here. {_ANOTHER}",
}


class LinkHandler(BaseHandler):  # type: ignore[misc]
    """``/hub/link?token=…``: the token becomes the hub's usual cookie."""

    async def get(self) -> None:
        """Log in and go on to the dev machine, or say in one page why not."""
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")
        token = self.get_argument("token", "")
        found = redeem(Path(self.authenticator.login), token) if token else None
        if found is Redeemed.GOOD and await self.login_user({"link": True}):
            # Not get_next_url(): it copies the query, token included, to the next address.
            self.redirect(self._next())
            return
        self.set_status(403)
        page = await self.render_template(
            "error.html", status_code=403, status_message="Please log in", message=_SENTENCES.get(found)
        )
        await self.finish(page)

    def _next(self) -> str:
        notebook = self.get_argument("open", "").lstrip("/")
        inside = f"lab/tree/{quote(notebook)}" if notebook and ".." not in notebook.split("/") else "lab"
        return str(url_path_join(self.hub.base_url, "user-redirect", inside))


class LinkAuthenticator(Authenticator):  # type: ignore[misc]
    """Logs the one person in who shows a good link.

    The handler redeems the link, so that the page can say what was wrong with it; no form reaches
    `authenticate`, because there is no login form.
    """

    login = Unicode(help="Folder of the unused links.").tag(config=True)
    person = Unicode(help="Name of the one person.").tag(config=True)

    auto_login = True  # /hub/login, where every redirect ends, goes on to login_url

    def login_url(self, base_url: str) -> str:
        """Where a browser without a session is sent."""
        return str(url_path_join(base_url, "link"))

    def get_handlers(self, app: Any) -> list[tuple[str, type[BaseHandler]]]:
        """The page of links."""
        return [("/link", LinkHandler)]

    async def authenticate(self, handler: BaseHandler, data: Any) -> str | None:
        """Only `LinkHandler` may say that a link was good."""
        return self.person if isinstance(handler, LinkHandler) and data == {"link": True} else None
