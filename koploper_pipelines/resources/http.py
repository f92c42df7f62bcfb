"""Calls to an API on the network: patient with what passes by itself, strict about what does not.

Here belong retries, time-outs and telling one failure from another, for every source alike. What an API
answers is read by its own client beside this module.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

    import httpx
    from tenacity import RetryCallState

T = TypeVar("T")

KEY_REFUSED = (401, 403)
ON_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
PASSES_BY_ITSELF = frozenset({408, 425, 429, *range(500, 600)})


class SourceUnreachable(RuntimeError):
    """A source did not give a sound answer, however often it was asked; it may another night."""


class SourceRefused(RuntimeError):
    """A source answers that it will not: the key or the request is wrong, and a person must look."""


class BadAnswer(RuntimeError):
    """One answer that is not what the source should say; asked again, it may be."""

    def __init__(self, what: str, retry_after_s: float = 0.0) -> None:
        """Say what is wrong, and how long the source asks to be left alone."""
        super().__init__(what)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Patience:
    """How often and how long a source is waited for."""

    attempts: int = 5
    first_wait_s: float = 1.0
    """Doubled at each attempt, with as much again at random, so that callers do not return together."""
    longest_wait_s: float = 60.0
    """Also the longest that a source may ask for with Retry-After."""
    timeout_s: float = 60.0
    """For one whole answer, from the first to the last byte."""
    largest_answer: int = 256 << 20
    """Bytes of an answer; more is not what was asked for."""


@dataclass(frozen=True)
class Api:
    """One API: its name in messages, its address, and headers that may hold a key and are never shown."""

    name: str
    address: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    patience: Patience = Patience()

    def __post_init__(self) -> None:
        """Refuse an address that is none, or to which a key would travel for all to read."""
        parts = urlsplit(self.address)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError(f"{self.name}: address {self.address!r}, expected one with https://")
        if self.headers and parts.scheme == "http" and parts.hostname not in ON_THIS_MACHINE:
            raise ValueError(f"{self.name}: a key for {self.address!r}, expected an address with https://")

    def json(self, path: str, params: Mapping[str, str], read: Callable[[Any], T]) -> T:
        """GET a JSON document and make something of it with `read`, which may raise BadAnswer.

        Numbers come as the text that they are written with. Raises SourceUnreachable, SourceRefused, and
        whatever else `read` raises.
        """
        return self._patiently("GET", path, params, lambda body: read(self._parsed(body)))

    def post(self, path: str, form: Mapping[str, str], read: Callable[[bytes], T]) -> T:
        """POST a form, and make something of the bytes that come back; fails as `json` does."""
        return self._patiently("POST", path, form, read)

    def _patiently(self, method: str, path: str, sent: Mapping[str, str], read: Callable[[bytes], T]) -> T:
        import tenacity

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.patience.attempts),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(BadAnswer),
            reraise=True,
        )
        try:
            return retrying(lambda: read(self._answer(method, path, sent)))
        except BadAnswer as error:
            raise SourceUnreachable(
                f"{self.name} ({self.address}): {error}; asked {self.patience.attempts} times"
            ) from error

    def _wait(self, state: RetryCallState) -> float:
        import tenacity

        patience = self.patience
        jittered = tenacity.wait_exponential_jitter(
            multiplier=patience.first_wait_s, max=patience.longest_wait_s, jitter=patience.first_wait_s
        )(state)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, BadAnswer) else 0.0
        return max(jittered, min(asked, patience.longest_wait_s))

    def _answer(self, method: str, path: str, sent: Mapping[str, str]) -> bytes:
        """The bytes of one answer with status 200, whole and in time."""
        import httpx

        sending: dict[str, Any] = {"params": dict(sent)} if method == "GET" else {"data": dict(sent)}
        url = self.address.rstrip("/") + path
        deadline = time.monotonic() + self.patience.timeout_s
        with (
            _named_failures(self.patience),
            httpx.Client(
                headers=dict(self.headers), timeout=self.patience.timeout_s, verify=_certificates()
            ) as client,
            client.stream(method, url, **sending) as response,
        ):
            self._check_status(response)
            return self._whole(response, deadline)

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        if status in KEY_REFUSED:
            raise SourceRefused(
                f"{self.name} ({self.address}) refuses the key (HTTP {status}); expected a key that may read"
            )
        if status in PASSES_BY_ITSELF:
            asked = response.headers.get("Retry-After", "")
            raise BadAnswer(f"HTTP {status}", float(asked) if asked.isdigit() else 0.0)
        raise SourceRefused(f"{self.name} ({self.address}) answers HTTP {status}, expected 200")

    def _whole(self, response: httpx.Response, deadline: float) -> bytes:
        body = bytearray()
        # A time-out of the library is between two reads, which a source that drips never reaches; and with a
        # size of chunk it would wait for one to be full.
        for chunk in response.iter_bytes():
            body += chunk
            if time.monotonic() > deadline:
                raise BadAnswer(f"no whole answer within {self.patience.timeout_s:g} s")
            if len(body) > self.patience.largest_answer:
                raise BadAnswer(f"more than {self.patience.largest_answer} bytes")
        return bytes(body)

    @staticmethod
    def _parsed(body: bytes) -> Any:
        if is_html(body):
            raise BadAnswer("HTML instead of JSON")
        try:
            return json.loads(body, parse_int=str, parse_float=str)
        except ValueError as error:
            raise BadAnswer(f"no JSON, or cut off after {len(body)} bytes") from error


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities that are trusted; loading them takes longer than most answers."""
    import httpx

    return httpx.create_ssl_context()


@contextmanager
def _named_failures(patience: Patience) -> Iterator[None]:
    """Failures on the way as bad answers, in words."""
    import httpx

    try:
        yield
    except httpx.TimeoutException as error:
        raise BadAnswer(f"no answer within {patience.timeout_s:g} s") from error
    except httpx.RemoteProtocolError as error:
        raise BadAnswer("the answer was cut off") from error
    except httpx.TransportError as error:
        raise BadAnswer(f"no connection ({type(error).__name__})") from error
    except httpx.DecodingError as error:
        raise BadAnswer("the answer cannot be unpacked") from error


def is_html(body: bytes) -> bool:
    """Whether an answer is a page for people: an error page, or one of whatever stands in between."""
    return body.lstrip()[:1] == b"<"
