"""Where models are recorded. Read from the environment in one place (the command line) and passed in from there."""

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

# With a server, mlflow prints links among what `--json` prints, and bars among our own.
QUIET = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
DEFAULT_STORE = "sqlite:///mlruns/mlflow.db"


class RegistrySettings(BaseSettings):
    """The MLflow store that holds runs and registered models."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    tracking_uri: str = Field(
        DEFAULT_STORE, validation_alias="MLFLOW_TRACKING_URI", description="MLflow store: a server or a database."
    )
    name: str = Field("earful", validation_alias="EARFUL_MODEL_NAME", description="Name of the registered model.")

    def prepare(self) -> None:
        """Keep mlflow's own lines out of ours; make the folder of a local SQLite store, which SQLite will not make."""
        os.environ.update({**QUIET, **os.environ})
        if self.tracking_uri.startswith("sqlite:///"):
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
