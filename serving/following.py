"""Following a name: when another model stands behind it, that one is fetched, checked, and takes over.

A champion promoted, rolled back to, or written anew into its folder serves within seconds, and no request waits for
it. One that must not serve is refused, and said to be; what served before goes on.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from anyio import to_thread

from earful.errors import BundleError, ModelNotFound
from earful.settings import RegistrySettings
from earful.tagger import Tagger
from serving.models import load
from serving.registry import fetched, standing_for
from serving.settings import ServeSettings

log = structlog.get_logger()


@dataclass(frozen=True)
class Refused:
    """A model that was to serve, and why it does not."""

    model: str
    reason: str
    at: datetime


class Follower:
    """Looks again and again which model a name stands for."""

    def __init__(
        self,
        name: str,
        settings: ServeSettings,
        now: Callable[[], str | None],
        swap: Callable[[Tagger], None],
    ) -> None:
        """`now` says which model is there, `swap` is given another one."""
        self.name = name
        self.refused: Refused | None = None
        self._settings, self._registry = settings, RegistrySettings()
        self.swaps = self.refusals = 0
        # Always the same thread: each has memory of its own that it hardly gives back.
        self._loading = ThreadPoolExecutor(1)
        self._now, self._swap = now, swap
        self._last = now()

    async def is_behind(self) -> bool:
        """Whether the name stands for another model than the one that is there; False if that cannot be told."""
        try:
            return await to_thread.run_sync(standing_for, self.name, self._registry) != self._now()
        except ModelNotFound:
            return False

    async def run(self) -> None:
        """Look every so often, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("looking for another model failed", model=self.name)
            await asyncio.sleep(self._settings.follow_seconds)

    async def look(self) -> None:
        """Take over what the name stands for, if that has changed."""
        try:
            model = await to_thread.run_sync(standing_for, self.name, self._registry)
            if model in (self._last, self._now()):
                self._last = model
                return
            tagger = await asyncio.get_running_loop().run_in_executor(self._loading, self._fetch)
        except ModelNotFound as error:  # nothing is there, or it cannot be reached: perhaps it can next time
            log.warning("the model cannot be looked up", model=self.name, reason=str(error))
            return
        except BundleError as error:
            self._refuse(model, str(error))
            return
        self._last, self.refused = tagger.ref.identity, None
        self._swap(tagger)
        self.swaps += 1
        log.info("another model was taken over", name=self.name, version=tagger.ref.version, bundle=tagger.ref.bundle)

    def _refuse(self, model: str, reason: str) -> None:
        """Remember why; a version stays what it is, but a folder may be in the middle of being copied."""
        if not Path(self.name).is_dir():
            self._last = model
        if self.refused is None or (self.refused.model, self.refused.reason) != (model, reason):
            self.refused = Refused(model, reason, datetime.now(UTC))
            self.refusals += 1
            log.error("a model must not serve", model=self.name, found=model, reason=reason)

    def _fetch(self) -> Tagger:
        with fetched(self.name) as found:
            return load(Path(found.folder), found.version, self._settings)
