"""Settings from the environment. What is missing or weak stops the start with one sentence."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


class Misconfigured(RuntimeError):
    """A setting that the application cannot start with."""


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.lstrip("-").isdigit():
        raise Misconfigured(f"{name} must be a whole number")
    return int(text or default)


def _needed(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise Misconfigured(f"{name} is not set")
    return value


@dataclass(frozen=True)
class Settings:
    database_url: str = field(default_factory=lambda: _needed("DATABASE_URL"), repr=False)
    secret_key: str = field(default_factory=lambda: _needed("SECRET_KEY"), repr=False)
    admin_token: str = field(default_factory=lambda: os.environ.get("ADMIN_TOKEN", ""), repr=False)
    redis_url: str = field(default_factory=lambda: os.environ.get("REDIS_URL", ""), repr=False)
    environment: str = field(default_factory=lambda: os.environ.get("ENVIRONMENT", "development"))
    log_level: str = field(default_factory=lambda: os.environ.get("LOG_LEVEL", "INFO").upper())
    pool_size: int = field(default_factory=lambda: _number("DATABASE_POOL_SIZE", 10))
    max_overflow: int = field(default_factory=lambda: _number("DATABASE_MAX_OVERFLOW", 20))
    pool_recycle: int = field(default_factory=lambda: _number("DATABASE_POOL_RECYCLE", 3600))
    per_minute: int = field(default_factory=lambda: _number("RATE_LIMIT_PER_MINUTE", 60))
    per_hour: int = field(default_factory=lambda: _number("RATE_LIMIT_PER_HOUR", 1000))
    cors_origins: str = field(default_factory=lambda: os.environ.get("CORS_ORIGINS", ""))
    # Set by the deployment: which release this process is.
    version: str = field(default_factory=lambda: os.environ.get("FLOYO_VERSION", "development"))
    release: str = field(default_factory=lambda: os.environ.get("FLOYO_RELEASE", ""))

    def __post_init__(self) -> None:
        weak = len(self.secret_key) < 32 or len(set(self.secret_key)) < 8
        if self.environment == "production" and weak:
            raise Misconfigured("SECRET_KEY is too weak for production: at least 32 random characters")
