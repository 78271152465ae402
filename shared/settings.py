"""The settings of one process, all from the environment (`KECHUANG_…`), each with a safe default."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator may set. Empty database URLs mean: the embedded PostgreSQL in `data`."""

    model_config = SettingsConfigDict(env_prefix="KECHUANG_", extra="ignore")

    data: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = 8000
    sandbox: bool = False
    log_level: str = "warning"
    log_format: Literal["text", "json"] = "text"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    """0: metrics are not served."""
    secret: str = ""
    """Encrypts the gateway's signing keys at rest; empty: the file `secret` in `data`."""

    roster_database_url: str = ""
    lending_database_url: str = ""
    compensation_database_url: str = ""
    gateway_database_url: str = ""
    bus_database_url: str = ""
    database_pool: int = 12

    bus: Literal["postgres", "kafka"] = "postgres"
    kafka_servers: str = "localhost:9092"
    kafka_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_username: str = ""
    kafka_password: str = ""
    kafka_ca_file: str = ""
    kafka_partitions: int = 6
    kafka_replicas: int = 1

    roster_url: str = "http://localhost:8001"
    lending_url: str = "http://localhost:8002"
    compensation_url: str = "http://localhost:8003"
    gateway_url: str = "http://localhost:8000"

    def database_url(self, service: str) -> str:
        """The SQLAlchemy URL of a service's own database, or '' for the embedded one."""
        return str(getattr(self, f"{service}_database_url"))
