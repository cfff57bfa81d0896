"""Requests to a store: opening it with what the environment says, trying again, and saying failures without secrets.

Not here: what is asked for (`storage.py`). Addresses here may have a presigned query string; errors never do.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tailwag.errors import BadInput, Caution, NotFound, TailwagError

# Waits of half a minute in all, each twice as long as the last: after that a store is down rather than busy.
ATTEMPTS = 7
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds
_SECONDS_BETWEEN_WORDS = 20.0  # a store that throttles would otherwise fill the log
WEB = ("http", "https")
_TEMPORARY_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")

Answer = TypeVar("Answer")


class StoreFailure(TailwagError):
    """A store refused, or did not answer."""


class StoreDown(StoreFailure):
    """A store failed every time it was asked; nothing else of it need be tried now."""


class PreconditionFailed(TailwagError):
    """The object is not as the caller expected it; nothing was written."""


def request(address: str, call: Callable[[], Answer], attempts: int | None = None) -> Answer:
    """Make a request, again with growing waits where that may help.

    Parameters
    ----------
    address
        What is asked for; named in errors, without its query string.
    call
        Makes the request once.
    attempts
        How often at most; None takes TAILWAG_STORE_ATTEMPTS, else `ATTEMPTS`.

    Raises
    ------
    NotFound
        When it is not there.
    PreconditionFailed
        When a condition that the request makes does not hold.
    StoreFailure
        When the store refuses; `StoreDown` when it fails every time. A line on the way tells that it is tried again.
    """
    attempts = _attempts() if attempts is None else attempts
    waits = [min(_FIRST_WAIT * 2**number, _LONGEST_WAIT) for number in range(attempts - 1)]
    for wait in [*waits, None]:
        try:
            return call()
        except TailwagError:
            raise
        except Exception as error:  # botocore's, aiohttp's and OSError have no nearer common base
            stated, cause = _stated(_bare(address), error), error
            # A presigned address would stand whole in the traceback of the cause.
            if "?" in address:
                cause = None
            if not isinstance(stated, StoreFailure) or not _is_temporary(error):
                raise stated from cause
            if wait is None:
                raise StoreDown(
                    f"{stated}, {attempts} times over {sum(waits):g} s: give the command again once the store answers"
                ) from cause
        _tell(f"{stated}; trying again in {wait:g} s")
        time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def file_system(protocol: str) -> Any:
    """Open the fsspec file system of a protocol, with the settings of the environment.

    One for the process: fsspec itself would make one a thread.

    Raises
    ------
    BadInput
        When nothing reads such addresses, a package is missing, or the settings contradict each other.
    """
    options: dict[str, Any] = {}
    told: tuple[str | None, ...] = ()
    if protocol == "s3":
        require_s3_settings()
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        options = {
            "endpoint_url": endpoint(),
            "use_listings_cache": False,
            "client_kwargs": {"region_name": region} if region else {},
            "config_kwargs": {
                "retries": {"total_max_attempts": 1},  # what is tried again, and told, is decided in `request` alone
                "connect_timeout": 10,
                "read_timeout": 60,
                "max_pool_connections": 64,
                # Checksums that compatible stores of some years ago refuse.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
        }
        if os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("true", "1"):
            options["anon"] = True
        told = (
            region,
            endpoint(),
            os.environ.get("AWS_SKIP_SIGNATURE"),
            *(os.environ.get(name) for name in (*_SECRET_VARIABLES, "AWS_PROFILE")),
        )
    key = (os.getpid(), protocol, *told)
    with _opening:
        if key not in _opened:
            try:
                import fsspec

                opened = fsspec.filesystem(protocol, skip_instance_cache=True, **options)
            except ValueError as error:
                raise BadInput(f"nothing reads {protocol}:// addresses: copy what lies there, or mount it") from error
            except ImportError as error:
                remedy = 'pip install "tailwag[s3]"' if protocol in ("s3", *WEB) else str(error)
                raise BadInput(f"{protocol}:// needs a package that is not installed: {remedy}") from error
            if protocol == "s3":
                opened.retries = 1
            _opened[key] = opened
        return _opened[key]


_opened: dict[tuple[Any, ...], Any] = {}
_opening = threading.Lock()


def endpoint() -> str | None:
    """Give the address of the S3-compatible store that the environment names; None for Amazon's own."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def require_s3_settings() -> None:
    """Refuse settings with which requests would go unencrypted without the user's word.

    Raises
    ------
    BadInput
        For an ``http://`` endpoint without ``AWS_ALLOW_HTTP=true``, and for one with credentials in it.
    """
    address = endpoint()
    if address is None:
        return
    require_no_credentials(address)
    if urlsplit(address).scheme == "http" and os.environ.get("AWS_ALLOW_HTTP", "").lower() not in ("true", "1"):
        raise BadInput(f"the store at {address} is not encrypted: set AWS_ALLOW_HTTP=true if that is meant")


def require_no_credentials(address: str) -> None:
    """Refuse an address with a user, a password or a key in it.

    Raises
    ------
    BadInput
        Which names the address without them.
    """
    protocol, _, rest = address.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        raise BadInput(
            f"{protocol}://{host.rpartition('@')[2]}{_bare(rest[len(host) :])} was given with credentials in it, and "
            "addresses are printed and stored: give it without, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


def without_secrets(text: str) -> str:
    """Take credentials of the environment, users in addresses and query strings of addresses out of a text."""
    for variable in _SECRET_VARIABLES:
        secret = os.environ.get(variable, "")
        if len(secret) >= 4:  # anything shorter would take half the text away
            text = text.replace(secret, "…")
    text = re.sub(r"(\w+://)[^\s/?#'\"@]+@", r"\1…@", text)
    return re.sub(r"(https?://[^\s'\"?]+)\?[^\s'\",)]*", r"\1?…", text)


def _attempts() -> int:
    text = os.environ.get("TAILWAG_STORE_ATTEMPTS", "")
    if text and not (text.isdecimal() and int(text) >= 1):
        raise BadInput(f"TAILWAG_STORE_ATTEMPTS is {text!r}: give a number, at least 1")
    return int(text) if text else ATTEMPTS


def _is_web(address: str) -> bool:
    return address.partition("://")[0] in WEB


def _bare(address: str) -> str:
    return address.partition("?")[0]


def _stated(address: str, error: Exception) -> TailwagError:
    """Say what went wrong in one line."""
    said = str(error).strip()
    first = said.splitlines()[0] if said else type(error).__name__
    text = without_secrets((error.strerror if isinstance(error, OSError) else None) or first)
    status = _status(error)
    if isinstance(error, FileExistsError) or status == 412:
        return PreconditionFailed(f"{address} is not as expected: {text}")
    if isinstance(error, FileNotFoundError) and (status in (404, 410) or error.__cause__ is None):
        return NotFound(f"{address} is not there")
    if isinstance(error, FileNotFoundError):  # fsspec says so for every failure of a web server, and why in the cause
        text = f"status {status}" if status is not None else "no answer"
    if isinstance(error, PermissionError) or status in (401, 403) or "Credentials" in type(error).__name__:
        check = "the address, and until when it is signed" if _is_web(address) else "the credentials in the environment"
        return StoreFailure(f"{address}: the store refuses ({text}): check {check}")
    return StoreFailure(f"{address}: the store failed ({text})")


def _status(error: BaseException) -> int | None:
    """Find the HTTP status in an error, or in what caused it."""
    seen: Any = error
    while seen is not None:
        status = getattr(seen, "status", None)
        response = getattr(seen, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if isinstance(status, int):
            return status
        seen = seen.__cause__
    return None


def _is_temporary(error: Exception) -> bool:
    status = _status(error)
    if status is not None:
        return status in _TEMPORARY_STATUS or status < 300  # a body that breaks off has a fine status
    if isinstance(error, PermissionError | NotImplementedError | ValueError | TypeError):
        return False
    if type(error).__name__.endswith(("CredentialsError", "ValidationError", "ProfileNotFound")):
        return False
    return not (isinstance(error, OSError) and error.errno in (errno.EINVAL, errno.ENOSYS, errno.EPERM))


_words = threading.Lock()
_last_words = float("-inf")
_unsaid = 0


def _tell(message: str) -> None:
    """Say that something is tried again, but not more often than every so many seconds."""
    global _last_words, _unsaid
    with _words:
        now = time.monotonic()
        if now - _last_words < _SECONDS_BETWEEN_WORDS:
            _unsaid += 1
            return
        more = f" ({_unsaid} more failures since the last such line)" if _unsaid else ""
        _last_words, _unsaid = now, 0
    warnings.warn(message + more, Caution, stacklevel=2)
