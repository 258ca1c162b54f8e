"""Where models are recorded. Read from the environment in one place (the command line) and passed in from there."""

import os
import re
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from earful.errors import ModelNotFound

# With a server, mlflow prints links among what `--json` prints, bars among our own, and tries for minutes.
MANNERS = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # some 15 s; by mlflow's own choice a wrong address takes five minutes
}
SQLITE = "sqlite:///"
DEFAULT_STORE = f"{SQLITE}mlruns/mlflow.db"


class RegistrySettings(BaseSettings):
    """The MLflow store that holds runs and registered models."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", validate_default=True)

    tracking_uri: str = Field(
        DEFAULT_STORE, validation_alias="MLFLOW_TRACKING_URI", description="MLflow store: a server or a database."
    )
    name: str = Field("earful", validation_alias="EARFUL_MODEL_NAME", description="Name of the registered model.")

    @field_validator("tracking_uri")
    @classmethod
    def _is_a_store(cls, uri: str) -> str:
        if not re.match(r"(https?|sqlite|postgresql|mysql|mssql|databricks)(\+\w+)?:", uri):
            raise PydanticCustomError("store", "is no MLflow store; write sqlite:///…, postgresql://… or http://…")
        return cls._absolute(uri)

    @staticmethod
    def _absolute(uri: str) -> str:
        """A local SQLite store by its whole path, since mlflow keeps a store open under the address it was given."""
        path, mark, options = uri.removeprefix(SQLITE).partition("?")
        return f"{SQLITE}{Path(path).absolute()}{mark}{options}" if uri.startswith(SQLITE) else uri

    def prepare_to_write(self) -> None:
        """Teach mlflow manners; make the folder of a local SQLite store, which SQLite will not make."""
        os.environ.update({**MANNERS, **os.environ})
        if file := self.file:
            file.parent.mkdir(parents=True, exist_ok=True)

    def prepare_to_read(self) -> None:
        """Teach mlflow manners. Raises `ModelNotFound` if a local store is missing: SQLite would make one."""
        os.environ.update({**MANNERS, **os.environ})
        if (file := self.file) and not file.exists():
            raise ModelNotFound(
                f"there is no store of models at {file}: `earful train` makes it, or MLFLOW_TRACKING_URI names another"
            )

    @property
    def file(self) -> Path | None:
        """The file of a local SQLite store."""
        local = self.tracking_uri.startswith(SQLITE)
        return Path(self.tracking_uri.removeprefix(SQLITE).partition("?")[0]) if local else None
