"""Where models are recorded. Read from the environment in one place (the command line) and passed in from there."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_STORE = "sqlite:///mlruns/mlflow.db"


class RegistrySettings(BaseSettings):
    """The MLflow store that holds runs and registered models."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    tracking_uri: str = Field(
        DEFAULT_STORE, validation_alias="MLFLOW_TRACKING_URI", description="MLflow store: a server or a database."
    )
    name: str = Field("earful", validation_alias="EARFUL_MODEL_NAME", description="Name of the registered model.")

    def prepare(self) -> None:
        """Make the folder of a local SQLite store, which SQLite will not make."""
        if self.tracking_uri.startswith("sqlite:///"):
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
