"""Settings of the service, from `earful serve` and the environment (`EARFUL_…`), frozen, made once and passed in."""

from ipaddress import ip_address
from pathlib import Path

from pydantic import Field, NonNegativeFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServeSettings(BaseSettings):
    """How the service runs; docs/configuration.md describes each."""

    model_config = SettingsConfigDict(env_prefix="EARFUL_", frozen=True, extra="ignore")

    keys: Path = Field(Path("keys.json"), description="File of API keys; once it is there, requests need one.")
    keys_required: bool = Field(False, description="Ask for a key even if there is no file of keys.")
    open: bool = Field(False, description="Listen beyond this machine without keys.")
    docs: bool | None = Field(None, description="Serve /docs and /openapi.json; only on this machine if not set.")
    cors: tuple[str, ...] = Field((), description='Origins whose pages may call, as JSON: ["https://desk.example"].')
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    workers: PositiveInt = Field(1, description="Processes, each with a model of its own.")
    model: str = Field("champion", description="Alias, version or bundle folder to serve.")
    follow_seconds: NonNegativeFloat = Field(
        5, description="How often to look whether another model is behind the name, and serve that; 0 for never."
    )
    shadow: str | None = Field(
        None, description="Model that answers beside, unseen by callers, such as `challenger`; `/shadow` compares."
    )
    shadow_share: float = Field(0.1, ge=0, le=1, description="Share of the traffic that the shadow answers.")
    threads: PositiveInt | None = Field(
        None, description="Cores that one inference may use; half of them if not set, since two are made at once."
    )
    zendesk_secret: SecretStr | None = Field(None, description="Signing secret of Zendesk's webhook; opens it.")
    chatwoot_token: SecretStr | None = Field(None, description="Token in the address of Chatwoot's webhook; opens it.")
    log_requests: bool = Field(True, description="Write a line for each request: no text, no key.")
    traces: bool = Field(False, description="Send OpenTelemetry traces to where OTEL_EXPORTER_OTLP_ENDPOINT says.")
    max_explain_chars: PositiveInt = Field(20_000, description="Longest text that is explained, in characters.")
    max_batch: PositiveInt = Field(1000, description="Most items in one /classify/batch.")
    max_batch_chars: PositiveInt = Field(1_000_000, description="Most characters of text in one /classify/batch.")
    max_waiting: PositiveInt = Field(
        12_000, description="Most tokens of requests to /classify that wait; beyond them the answer is 503 at once."
    )
    max_waiting_batches: PositiveInt = Field(
        500_000, description="Most tokens of requests to /classify/batch in progress; beyond them the answer is 503."
    )
    max_body_bytes: PositiveInt = Field(10_000_000, description="Largest request body, in bytes.")

    @property
    def has_docs(self) -> bool:
        """Whether /docs and /openapi.json are served."""
        return self.is_local if self.docs is None else self.docs

    @property
    def is_local(self) -> bool:
        """Whether it listens to this machine alone."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
