"""Servers on this machine that speak the APIs of the sources over given rows, and misbehave when told to.

Each answers on loopback in a thread of its own, for as long as its `with` block. What goes wrong is a list of
faults, one for each request to come; after the list everything goes well.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pyarrow as pa

from koploper_pipelines.resources.http import Patience

SLOW_S = 1.5
"""How long a slow answer takes."""
SLOW = ("traag", "druppelt")


def patience(fault: str | None = None) -> Patience:
    """Three attempts at once after each other; the wait for an answer is short only where it is to run out.

    A busy machine may make any answer slow.
    """
    timeout_s = SLOW_S / 3 if fault in SLOW else 20.0
    return Patience(attempts=3, first_wait_s=0.001, longest_wait_s=0.01, timeout_s=timeout_s)


TRANSIENT = {
    "verbroken": "no connection|cut off",
    "afgekapt": "cut off",
    "halve_json": "cut off after",
    "http_500": "HTTP 500",
    "http_502": "HTTP 502",
    "http_503": "HTTP 503",
    "http_429": "HTTP 429",
    "html": "HTML instead of",
    "traag": "no answer within",
    "druppelt": "no whole answer within|no answer within",
    "leeg": "cut off after 0 bytes|no JSON",
}
"""Faults that pass by themselves, with what must be said of them."""
REFUSALS = {"sleutel": "refuses the key", "http_404": "answers HTTP 404", "doorverwezen": "answers HTTP 302"}
"""Faults for which a person must look."""


@dataclass
class Served:
    """A server that runs: its address, the requests so far, and the faults to come."""

    url: str
    faults: list[str] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    last_fault: str | None = None


Answer = Callable[[str, Mapping[str, str], str | None], bytes]
"""From path, parameters and a fault in the answer's content to the body."""


@contextmanager
def serving(answer: Answer, key: str | None = None) -> Iterator[Served]:
    """Serve `answer`; with `key`, only to those who send it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._reply(parts.path, parse_qs(parts.query))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._reply(urlsplit(self.path).path, parse_qs(body))

        def _reply(self, path: str, lists: Mapping[str, list[str]]) -> None:
            params = {name: values[0] for name, values in lists.items()}
            served.requests.append({"path": path, **params})
            fault = served.faults.pop(0) if served.faults else None
            served.last_fault = fault or served.last_fault
            if key is not None and self.headers.get("Authorization") != key:
                fault = "sleutel"
            try:
                self._misbehave(fault) if fault in MISBEHAVIOURS else self._send(answer(path, params, fault))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _send(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("Connection", "close")
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def _misbehave(self, fault: str | None) -> None:
            MISBEHAVIOURS[str(fault)](self)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    served = Served(f"http://127.0.0.1:{server.server_port}")
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _drip(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.close_connection = True
    for _ in range(20):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(SLOW_S / 10)


def _drop(handler: Any) -> None:
    handler.close_connection = True


def _late(handler: Any) -> None:
    time.sleep(SLOW_S)
    handler._send(b"{}")


MISBEHAVIOURS: dict[str, Callable[[Any], None]] = {
    "verbroken": _drop,
    "afgekapt": lambda h: h._send(b'{"success": true, "result": {"rec', length=5000),
    "halve_json": lambda h: h._send(b'{"success": true, "result": {"records": [{"_id": 4'),
    "http_500": lambda h: h._send(b'{"success": false}', 500),
    "http_502": lambda h: h._send(b"<html>Bad Gateway</html>", 502),
    "http_503": lambda h: h._send(b"", 503, Retry_After="0"),
    "http_429": lambda h: h._send(b"", 429),
    "html": lambda h: h._send(b"<!DOCTYPE html><title>Onderhoud</title>", Content_Type="text/html"),
    "traag": _late,
    "druppelt": _drip,
    "leeg": lambda h: h._send(b""),
    "sleutel": lambda h: h._send(
        b'{"success": false, "error": {"__type": "Authorization Error", "message": "Access denied"}}', 403
    ),
    "http_404": lambda h: h._send(b"Not found", 404),
    "doorverwezen": lambda h: h._send(b"", 302, Location="http://127.0.0.1:1/"),
}


# -- CKAN ------------------------------------------------------------------------------------------------


class Store:
    """The rows of one DataStore resource, as a database that runs the SQL it is sent."""

    CONTENT_FAULTS = ("kolom_weg", "kolom_erbij", "andere_vorm", "herhaald", "verkeerde_volgorde", "te_kort")

    def __init__(self, table: str, columns: Sequence[str], most_rows: int = 32_000) -> None:
        self.table = table
        self.most_rows = most_rows
        # As in PostgreSQL, of which the SQL here is a part.
        self._con = duckdb.connect(config={"integer_division": True})
        kinds = {"_id": "BIGINT", "recording_timestamp": "TIMESTAMP", "receive_timestamp": "TIMESTAMP"}
        kinds |= dict.fromkeys(("entity_id", "error_code", "version_major", "version_minor"), "VARCHAR")
        fields = ", ".join(f'"{c}" {kinds.get(c, "DOUBLE")}' for c in columns)
        self._con.sql(f'CREATE TABLE "{table}" ({fields}, "_full_text" VARCHAR)')
        self._lock = threading.Lock()

    def store(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Store rows: from now on they are seen."""
        if not rows:
            return
        with self._lock:
            new = pa.table({c: pa.array([r[c] for r in rows], pa.string()) for c in rows[0]})
            self._con.register("nieuw", new)
            self._con.sql(f"""INSERT INTO "{self.table}" SELECT *, 'x' FROM nieuw""")

    @property
    def ids(self) -> list[int]:
        with self._lock:
            return [i for (i,) in self._con.sql(f'SELECT _id FROM "{self.table}" ORDER BY _id').fetchall()]

    def answer(self, path: str, params: Mapping[str, str], fault: str | None) -> bytes:
        assert path == "/api/3/action/datastore_search_sql", path
        with self._lock:
            found = self._con.sql(params["sql"])
            names, rows = list(found.columns), found.limit(self.most_rows + 1).fetchall()
        records = [dict(zip(names, map(_plain, row), strict=True)) for row in rows[: self.most_rows]]
        said: dict[str, Any] = {"fields": [{"id": n, "type": "text"} for n in names], "records": records}
        if len(rows) > self.most_rows:
            said["records_truncated"] = True
        _spoil_records(said, fault)
        if fault == "andere_vorm":
            return json.dumps({"help": "", "success": True, "result": {"rows": records}}).encode()
        return json.dumps({"help": "", "success": True, "result": said}).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _spoil_records(said: dict[str, Any], fault: str | None) -> None:
    if fault == "kolom_weg":
        said["fields"] = [f for f in said["fields"] if f["id"] != "pm2_5"]
        said["records"] = [{k: v for k, v in r.items() if k != "pm2_5"} for r in said["records"]]
    elif fault == "kolom_erbij":
        said["fields"] = [*said["fields"], {"id": "pm4_0", "type": "text"}]
        said["records"] = [{**r, "pm4_0": 1} for r in said["records"]]
    elif fault == "herhaald":
        said["records"] = said["records"] + said["records"][:1]
    elif fault == "verkeerde_volgorde":
        said["records"] = said["records"][::-1]
    elif fault == "te_kort":
        said["records"] = said["records"][: len(said["records"]) // 2]


# -- Luchtmeetnet ----------------------------------------------------------------------------------------


@dataclass
class Stations:
    """Hourly values by station and end of the hour (UTC), as the API gives them, oldest first."""

    values: dict[tuple[str, datetime], float | None]
    page_rows: int = 100

    CONTENT_FAULTS = ("veld_weg", "andere_vorm", "andere_pagina", "ander_station")

    def answer(self, path: str, params: Mapping[str, str], fault: str | None) -> bytes:
        assert path.endswith("/measurements"), path
        start, end = (datetime.fromisoformat(params[k]) for k in ("start", "end"))
        station, number = params["station_number"], int(params["page"])
        rows = [
            {
                "station_number": station,
                "value": value,
                "timestamp_measured": moment.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
                "formula": params["formula"],
            }
            for (s, moment), value in sorted(self.values.items())
            if s == station and start <= moment <= end
        ]
        last = max(1, -(-len(rows) // self.page_rows))
        data = rows[(number - 1) * self.page_rows : number * self.page_rows]
        if fault == "veld_weg":
            data = [{k: v for k, v in r.items() if k != "timestamp_measured"} for r in data] or [{}]
        if fault == "ander_station":
            data = [{**r, "station_number": "NL00000"} for r in data]
        page = number + 1 if fault == "andere_pagina" else number
        pagination = {"current_page": page, "first_page": 1, "last_page": last}
        if fault == "andere_vorm":
            return json.dumps({"measurements": data}).encode()
        return json.dumps({"pagination": pagination, "data": data}).encode()


# -- KNMI ------------------------------------------------------------------------------------------------


@dataclass
class Weather:
    """Lines of KNMI's hourly file, answered as the service does."""

    header: str
    lines: list[str]

    def answer(self, path: str, params: Mapping[str, str], fault: str | None) -> bytes:
        first, last = params["start"][:8], params["end"][:8]
        days = {(d := datetime.strptime(first, "%Y%m%d"))} | {
            d + timedelta(days=n) for n in range((datetime.strptime(last, "%Y%m%d") - d).days + 1)
        }
        wanted = {f"{d:%Y%m%d}" for d in days}
        chosen = [line for line in self.lines if line.split(",")[1].strip() in wanted]
        header = self.header.replace("STN", "STATION") if fault == "kolom_weg" else self.header
        return "\n".join(["# BRON: KNMI", "# Opmerking: uurwaarden", header, *chosen, ""]).encode()


# -- PDOK ------------------------------------------------------------------------------------------------


@dataclass
class Features:
    """GeoJSON features of one collection, paged by `limit` and a link to the next page."""

    features: list[dict[str, Any]]
    url: str = ""

    def answer(self, path: str, params: Mapping[str, str], fault: str | None) -> bytes:
        limit, start = int(params.get("limit", "10")), int(params.get("cursor", "0"))
        year = params.get("jaarcode")
        chosen = [f for f in self.features if year in (None, str(f["properties"]["jaarcode"]))]
        page = chosen[start : start + limit]
        links = [{"rel": "self", "href": self.url + path}]
        if start + limit < len(chosen):
            others = "&".join(f"{k}={v}" for k, v in params.items() if k != "cursor")
            links.append({"rel": "next", "href": f"{self.url}{path}?{others}&cursor={start + limit}"})
        if fault == "andere_vorm":
            return json.dumps({"type": "Collection", "items": page}).encode()
        return json.dumps({"type": "FeatureCollection", "features": page, "links": links}).encode()
