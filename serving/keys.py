"""API keys: who may do what, and how often. The file holds digests alone; a key is shown once, when it is made."""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import limits
from filelock import FileLock
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from earful.errors import InputError

Scope = Literal["classify", "read", "label", "admin"]
PREFIX = "earful_"  # by which a key that was published by mistake can be searched for
BYTES = 32  # of chance in a key: nobody guesses it, so that a plain digest of it keeps it
PRIVATE = 0o600


def _is_rate(said: str) -> str:
    try:
        (rate,) = limits.parse_many(said)
    except ValueError:
        rate = None
    if rate is None or rate.amount < 1:
        raise PydanticCustomError("rate", "is no rate such as 600/minute or 20/second")
    return said


class Key(BaseModel):
    """One key, without the key: its name, the digest of it, what it may do, how often, and since when it is there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[\w.@-]{1,100}$")]
    sha256: str
    scopes: tuple[Scope, ...]
    rate: Annotated[str, AfterValidator(_is_rate)] | None = None
    created_at: datetime

    def may(self, scope: Scope) -> bool:
        """Whether it opens what needs that scope; `admin` opens everything."""
        return scope in self.scopes or "admin" in self.scopes


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: tuple[Key, ...] = ()


class Keys:
    """The file of keys. What is changed in it holds from the next request on."""

    def __init__(self, path: Path, required: bool = False) -> None:
        """`required`: requests need a key, be there a file or not.

        Raises `InputError` if the file is there and cannot be used.
        """
        self.path = path
        self._read_at: tuple[int, int] | None = None
        self._by_digest: dict[str, Key] = {}
        self._required = required
        self.all()

    @property
    def required(self) -> bool:
        """Whether requests need a key: once there is a file, for as long as the process lives, even if it goes."""
        self._required = self._required or self.path.exists()
        return self._required

    def all(self) -> Sequence[Key]:
        """Every key, oldest first. Raises `InputError`."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            self._by_digest, self._read_at = {}, None
            return ()
        if (state.st_mtime_ns, state.st_ino) != self._read_at:
            self._by_digest = {key.sha256: key for key in self._read().keys}
            self._read_at = (state.st_mtime_ns, state.st_ino)
        return tuple(self._by_digest.values())

    def find(self, secret: str) -> Key | None:
        """The key that somebody showed."""
        self.all()
        return self._by_digest.get(_digest(secret))

    def create(self, name: str, scopes: Sequence[str], rate: str | None) -> str:
        """Make a key, and show it for the only time. Raises `InputError`."""
        secret = PREFIX + secrets.token_urlsafe(BYTES)
        made = {
            "name": name,
            "sha256": _digest(secret),
            "scopes": scopes,
            "rate": rate,
            "created_at": datetime.now(UTC),
        }
        with self._changing():
            if name in {key.name for key in self.all()}:
                raise InputError(f"there is a key called “{name}” already; revoke it first, or choose another name")
            try:
                key = Key.model_validate(made)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                raise InputError(f"{first['loc'][0]}: {first['msg']}") from error
            self._write((*self.all(), key))
        return secret

    def revoke(self, name: str) -> None:
        """Let a key open nothing any more. Raises `InputError` if there is none of that name."""
        with self._changing():
            kept = tuple(key for key in self.all() if key.name != name)
            if len(kept) == len(self.all()):
                raise InputError(
                    f"{self.path}: there is no key called “{name}”; `earful keys list` shows those there are"
                )
            self._write(kept)

    def _changing(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.path}.lock")

    def _read(self) -> _File:
        try:
            return _File.model_validate_json(self.path.read_bytes())
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise InputError(f"{self.path}: {place}: {first['msg']}; make keys with `earful keys create`") from error

    def _write(self, keys: tuple[Key, ...]) -> None:
        handle, beside = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, PRIVATE)
            file.write(_File(keys=keys).model_dump_json(indent=1) + "\n")
        Path(beside).replace(self.path)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
