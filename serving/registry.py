"""From the name of a model to its bundle: serving's own small door to the MLflow registry.

mlflow costs a second and 165 MB to import, and a server needs it only to fetch its model, so `fetched` asks a process
of its own (`python -m serving.registry NAME FOLDER`), which ends when it has answered. `standing_for` is asked every
few seconds, and looks without mlflow: in the database itself, or by the server's REST API.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from earful.bundle import MANIFEST
from earful.errors import BundleError, ModelNotFound
from earful.settings import RegistrySettings

BUNDLE = "bundle"  # the artifact of a run that holds its bundle
ALIASED = "SELECT version FROM registered_model_aliases WHERE name = :name AND alias = :alias"  # mlflow's own table
PATIENCE = 10  # seconds that a server is given to say which version an alias stands for


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


def standing_for(model: str, settings: RegistrySettings) -> str:
    """What is behind a name now: an alias's version, or the digest of a folder's bundle; a version is itself.

    Raises `ModelNotFound` if there is nothing, or it cannot be reached.
    """
    if Path(model).is_dir():
        try:
            return "sha256:" + hashlib.sha256(Path(model, MANIFEST).read_bytes()).hexdigest()
        except OSError as error:
            raise ModelNotFound(f"{model}: {error.strerror}") from error
    if model.isdigit():
        return model
    found = _by_rest(model, settings) if settings.tracking_uri.startswith("http") else _by_query(model, settings)
    if found is None:
        raise ModelNotFound(f"no version of {settings.name} in {settings.tracking_uri} is called “{model}”")
    return found


def _unasked(settings: RegistrySettings, error: Exception) -> ModelNotFound:
    return ModelNotFound(f"{settings.tracking_uri} cannot be asked: {str(error).splitlines()[0]}")


def _by_query(alias: str, settings: RegistrySettings) -> str | None:
    if (file := settings.file) and not file.exists():  # which SQLite would make
        raise ModelNotFound(f"there is no store of models at {file}")
    from sqlalchemy import create_engine, text  # a fifth of the server's start, for those alone that need it
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        engine = create_engine(settings.tracking_uri, poolclass=NullPool)
        with engine.connect() as connection:
            version = connection.execute(text(ALIASED), {"name": settings.name, "alias": alias}).scalar()
    except (SQLAlchemyError, ImportError) as error:  # the latter: no driver for that kind of database
        raise _unasked(settings, error) from error
    return None if version is None else str(version)


def _by_rest(alias: str, settings: RegistrySettings) -> str | None:
    import httpx  # as above

    name, password = (os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD"))  # mlflow's own
    try:
        answer = httpx.get(
            f"{settings.tracking_uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias",
            params={"name": settings.name, "alias": alias}, timeout=PATIENCE,
            auth=httpx.BasicAuth(name, password) if name and password else None,
        )  # fmt: skip
        if answer.status_code == httpx.codes.NOT_FOUND or "RESOURCE_DOES_NOT_EXIST" in answer.text:
            return None
        return str(answer.raise_for_status().json()["model_version"]["version"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise _unasked(settings, error) from error


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
