"""The model registry: versions, and the aliases that say which one serves. One of the two files that import mlflow."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from earful.errors import BundleError, InputError, ModelNotFound
from earful.settings import RegistrySettings
from earful.tagger import Tagger

CHAMPION, CHALLENGER = "champion", "challenger"
BUNDLE = "bundle"  # the artifact of a run that holds its bundle
HISTORY = "earlier_champions"  # tag of the registered model: versions that were champion, oldest first


@dataclass(frozen=True)
class Version:
    """One registered model."""

    version: str
    aliases: tuple[str, ...]
    created_at: datetime
    run_id: str
    metrics: dict[str, float]


class Registry:
    """The versions of one registered model."""

    def __init__(self, settings: RegistrySettings) -> None:
        settings.prepare_to_read()
        self._client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
        self._uri = settings.tracking_uri
        self.name = settings.name

    def versions(self) -> list[Version]:
        """All versions, newest first; none if nothing was trained yet."""
        found = self._client.search_model_versions(f"name = '{self.name}'")
        return [self._version(one.version) for one in sorted(found, key=lambda one: -int(one.version))]

    def _version(self, number: str) -> Version:
        found = self._client.get_model_version(self.name, number)  # the search does not fill in aliases
        return Version(
            version=str(found.version),
            aliases=tuple(sorted(found.aliases)),
            created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
            run_id=found.run_id,
            metrics=dict(self._client.get_run(found.run_id).data.metrics),
        )

    def find(self, wanted: str) -> Version:
        """The version with that number or alias. Raises `ModelNotFound`."""
        try:
            if wanted.isdigit():
                return self._version(wanted)
            return self._version(self._client.get_model_version_by_alias(self.name, wanted).version)
        except MlflowException as error:
            raise ModelNotFound(
                f"there is no model “{wanted}” of {self.name} in {self._uri}; `earful models` lists what there is"
            ) from error

    def champion(self) -> str | None:
        """The version that serves, None before the first promotion."""
        try:
            return str(self._client.get_model_version_by_alias(self.name, CHAMPION).version)
        except MlflowException:
            return None

    def load(self, version: Version) -> Tagger:
        """That version's Tagger. Raises `BundleError`."""
        with self.fetched(version) as folder:
            return Tagger.load(folder, version.version)

    @contextmanager
    def fetched(self, version: Version) -> Iterator[Path]:
        """A copy of that version's bundle, which is gone when the block ends."""
        with tempfile.TemporaryDirectory(prefix="earful-model-") as folder:
            try:
                bundle = download_artifacts(
                    run_id=version.run_id, artifact_path=BUNDLE, dst_path=folder, tracking_uri=self._uri
                )
            except MlflowException as error:
                where = f"version {version.version} of {self.name} is in {self._uri}, but its bundle is not"
                raise ModelNotFound(f"{where}: {error}") from error
            try:
                yield Path(bundle)
            except BundleError as error:  # named by what the person knows, and not by where it was copied to
                raise type(error)(str(error).replace(bundle, f"version {version.version}")) from error

    def challenge(self, version: str) -> None:
        """Mark a version as the one just trained."""
        self._client.set_registered_model_alias(self.name, CHALLENGER, version)

    def take_over(self, old: Version, version: str) -> bool:
        """Give a version the aliases that an older one had when `old` was read; whether it is champion then.

        Raises `InputError` if somebody gave them to another one meanwhile.
        """
        if lost := set(old.aliases) - set(self._version(old.version).aliases):
            raise InputError(
                f"version {old.version} was {' and '.join(sorted(lost))} when this was begun, and is no longer: "
                "somebody changed the model meanwhile; do it again on what it is now"
            )
        for alias in old.aliases:
            if alias == CHAMPION:
                self.promote(version)
            else:
                self._client.set_registered_model_alias(self.name, alias, version)
        return CHAMPION in old.aliases

    def enter(self, version: str, promoted: bool) -> bool:
        """Make a new version challenger, and champion too if it is to be or there is none; whether it is."""
        self.challenge(version)
        if promoted := promoted or self.champion() is None:
            self.promote(version)
        return promoted

    def promote(self, wanted: str) -> Version:
        """Make a version champion, once its bundle has loaded and passed its smoke test. Raises `BundleError`."""
        version = self.find(wanted)
        self.load(version)
        before = self.champion()
        if before is not None and before != version.version:
            self._remember([*self._history(), before])
        self._client.set_registered_model_alias(self.name, CHAMPION, version.version)
        return self.find(version.version)

    def rollback(self) -> Version:
        """Make the champion before this one champion again. Raises `ModelNotFound` if there was none."""
        history = self._history()
        if not history:
            raise ModelNotFound(f"{self.name} has had no champion before this one; there is nothing to go back to")
        self.load(self.find(history[-1]))
        self._client.set_registered_model_alias(self.name, CHAMPION, history[-1])
        self._remember(history[:-1])
        return self.find(history[-1])

    def _history(self) -> list[str]:
        try:
            tags = self._client.get_registered_model(self.name).tags
        except MlflowException:
            return []
        return [str(version) for version in json.loads(tags.get(HISTORY, "[]"))]

    def _remember(self, history: list[str]) -> None:
        self._client.set_registered_model_tag(self.name, HISTORY, json.dumps(history))
