"""From the name of a model to its bundle: serving's own small door to the MLflow registry.

mlflow costs a second and 165 MB to import, and a server needs it only to find its model, so `fetched` asks a process
of its own (`python -m serving.registry NAME FOLDER`), which ends when it has answered.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from earful.errors import BundleError, ModelNotFound
from earful.settings import RegistrySettings

BUNDLE = "bundle"  # the artifact of a run that holds its bundle


@dataclass(frozen=True)
class Found:
    """A bundle folder on this machine; `version` is None unless it came from the registry."""

    folder: str
    version: str | None


@contextmanager
def fetched(model: str) -> Iterator[Found]:
    """The bundle of an alias, a version or a folder; a copy that had to be fetched is gone when the block ends.

    Raises `ModelNotFound`.
    """
    if Path(model).is_dir():
        yield Found(model, None)
        return
    with tempfile.TemporaryDirectory(prefix="earful-model-") as folder:
        found = _find(model, folder)
        try:
            yield found
        except BundleError as error:  # named by what the person knows, and not by where it was copied to
            raise type(error)(str(error).replace(found.folder, f"version {found.version}")) from error


def _find(model: str, folder: str) -> Found:
    asked = subprocess.run(  # noqa: S603  (our own interpreter and module; the name is an argument, not a command)
        [sys.executable, "-m", __name__, model, folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if asked.returncode:
        raise ModelNotFound(asked.stderr.strip().splitlines()[-1] if asked.stderr.strip() else f"no model “{model}”")
    return Found(**json.loads(asked.stdout.splitlines()[-1]))


def _ask(model: str, folder: str, settings: RegistrySettings) -> Found:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        settings.prepare_to_read()
    except ModelNotFound as error:
        raise ModelNotFound(f"there is no folder “{model}”, and {error}") from error
    client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
    try:
        if model.isdigit():
            version = client.get_model_version(settings.name, model)
        else:
            version = client.get_model_version_by_alias(settings.name, model)
    except MlflowException as error:
        raise ModelNotFound(
            f"there is no folder “{model}”, and no such model of {settings.name} in {settings.tracking_uri}: {error}"
        ) from error
    try:
        bundle = download_artifacts(
            run_id=version.run_id, artifact_path=BUNDLE, dst_path=folder, tracking_uri=settings.tracking_uri
        )
    except MlflowException as error:
        where = f"version {version.version} of {settings.name} is in {settings.tracking_uri}, but its bundle is not"
        raise ModelNotFound(f"{where}: {error}") from error
    return Found(str(bundle), str(version.version))


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(_ask(sys.argv[1], sys.argv[2], RegistrySettings()))))
    except ModelNotFound as error:
        sys.exit(str(error).replace("\n", " "))
    except Exception as error:  # noqa: BLE001  (of mlflow and the database under it, which have no class in common)
        sys.exit(f"the store of models cannot be used: {str(error).strip().splitlines()[0]}")
