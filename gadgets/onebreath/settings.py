"""Every environment variable of Onebreath, typed and validated in one place."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from onebreath.errors import ConfigError
from onebreath.names import shortened
from onebreath.validation import problems

PREFIX = "ONEBREATH_"
ELSEWHERE = ("AUTOSTART", "COMMIT", "IMAGE", "GADGETRON", "EXAMPLES", "FAULT_RUNS", "REHEARSE")
"""Variables with our prefix that containers, the build and the tests read."""


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(os.pathsep) if part)


def _paths(text: object) -> object:
    return _parts(text) if isinstance(text, str) else text


def _words(text: object) -> object:
    return _split(text) if isinstance(text, str) else text


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _services(text: object) -> object:
    if not isinstance(text, str):
        return text
    services = _split(text)
    for service in services:
        address, colon, port = service.rpartition(":")
        if colon and not _is_address(service) and not (address and port.isdigit() and 0 < int(port) < 1 << 16):
            raise ValueError(f"'{service}' is neither an address nor address:port with a port from 1 to 65535")
    return services


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _pairs(text: object) -> object:
    if not isinstance(text, str):
        return text
    pairs = [[word.strip() for word in part.split("=")] for part in text.split(",") if part.strip()]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise ValueError("write name=Configuration.xml, separated by commas")
    return dict(pairs)


def _folders(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    for path in paths:
        _folder(path)
    return paths


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(
            f"'{path}' is {'no folder, but a file' if path.exists() else 'no folder'}; make it, or name another"
        )
    return path


def _no_file(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise ValueError(f"'{path}' is no folder, but a file; name another")
    return path


def _no_folder(path: Path) -> Path:
    if path.is_dir():
        raise ValueError(f"'{path}' is a folder; name a file")
    return path


def _storage(text: str | None) -> str | None:
    if text and "://" in text:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{text}' is no address of a storage server; write http://HOST:PORT")
    elif text and re.fullmatch(r"[\w.-]+:[0-9]+", text):
        raise ValueError(f"'{text}' is no folder; is http://{text} meant?")
    elif text and text != "off" and text.lower() == "off":
        raise ValueError("write off in small letters")
    elif text and text != "off":
        _no_file(Path(text))
    return text


def _sockets(text: str) -> str:
    if text != "off" and text.lower() == "off":
        raise ValueError("write off in small letters")
    for path in () if text == "off" else map(Path, _parts(text)):
        if path.exists() and not path.is_socket():
            raise ValueError(f"'{path}' is no socket; name that of a worker (onebreath serve), or off")
    return text


def _upper(text: object) -> object:
    return text.upper() if isinstance(text, str) else text


Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)]
Folders = Annotated[Paths, AfterValidator(_folders)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Services = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_services)]
Pairs = Annotated[dict[str, str], NoDecode, BeforeValidator(_pairs)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["text", "json"]


class Settings(BaseSettings):
    """Settings of this process; a variable that is empty counts as not set, but for those of storage."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        "WARNING", description="how much is logged: DEBUG, INFO, WARNING or ERROR"
    )
    log_format: LogFormat = Field("text", description="text, or json: an object per line")
    configs: Folders = Field((), description="folders of configurations, separated by colons, searched first")
    names: Pairs = Field({}, description="a site's own names of configurations: name=Configuration.xml, commas")
    models: Folders = Field((), description="folders of models, separated by colons, searched first")
    modules: Words = Field((), description="modules besides Onebreath's own that execute nodes may run, commas")
    connect: Services = Field((), description="services that connect nodes may reach: address or address:port, commas")
    folders: Folders = Field((), description="folders in which configurations may use files, separated by colons")
    state: Annotated[Path, AfterValidator(_no_file)] = Field(
        default_factory=lambda: platformdirs.user_state_path("onebreath"),
        description="folder of raw data and results that outlive a process (default: onebreath in the user's state)",
    )
    worker: Annotated[str, AfterValidator(_sockets)] = Field(
        "", description="sockets of workers, separated by colons, or off (default: worker.sock in the state folder)"
    )
    storage: Annotated[str | None, AfterValidator(_storage)] = Field(
        None,
        description="folder or http address of stored noise and calibration, or off (default: "
        "GADGETRON_STORAGE_ADDRESS, else onebreath/storage in the user's data folder)",
    )
    gadgetron_storage: Annotated[str | None, AfterValidator(_storage)] = Field(
        None, validation_alias="GADGETRON_STORAGE_ADDRESS", description="Gadgetron's storage, where ours is not set"
    )
    dists: Annotated[Path, AfterValidator(_no_folder)] = Field(
        default_factory=lambda: platformdirs.user_cache_path("onebreath") / "dists.safetensors",
        description="weights of DISTS (default: onebreath/dists.safetensors in the user's cache)",
    )
    shared: Path = Field(Path("../shared"), description="reference data of tests, benchmarks and recipes")
    gadgetron_home: Annotated[Path, AfterValidator(_folder)] | None = Field(
        None, validation_alias="GADGETRON_HOME", description="prefix of a Gadgetron installation"
    )
    onednn_max_cpu_isa: str = Field(
        "DEFAULT",
        validation_alias="ONEDNN_MAX_CPU_ISA",
        description="instructions that oneDNN may use (default: AVX2 on AMD's Zen 4, else all)",
    )


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def variable(field: str, kind: type[BaseSettings] = Settings) -> str:
    """Return the environment variable of a field."""
    alias = kind.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{kind.model_config.get('env_prefix', '')}{field}".upper()


def read_settings(kind: type[AnySettings]) -> AnySettings:
    """Read settings of some kind from the environment.

    Raises
    ------
    ConfigError
        If a value does not fit; the text names the variable, its value and what is possible.
    """
    try:
        return kind()
    except ValidationError as error:
        raise ConfigError("; ".join(_explanations(kind, error))) from None


def _explanations(kind: type[BaseSettings], error: ValidationError) -> Iterator[str]:
    by_variable = {variable(field, kind): field for field in kind.model_fields}
    for problem in problems(error):
        place = problem.where.partition(".")[0]
        name = place if place in by_variable else variable(place, kind)
        field = kind.model_fields[by_variable[name]]
        yield (
            f"the environment variable {name} is '{shortened(os.environ.get(name, ''))}', which does not fit: "
            f"{problem.reason}. Its meaning: {field.description}"
        )


def settings() -> Settings:
    """Return the settings as the environment has them now; errors as in `read_settings`."""
    return read_settings(Settings)


def misspelt() -> list[str]:
    """List suspicious variable names: each with our prefix that is unknown, with the nearest known one."""
    known = {variable(field) for field in Settings.model_fields} | {PREFIX + name for name in ELSEWHERE}
    found = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = get_close_matches(name, known, n=1)
            found.append(f"{name} is not a variable of Onebreath" + (f"; is {near[0]} meant?" if near else ""))
    return found
