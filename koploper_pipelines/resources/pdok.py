"""PDOK's OGC API Features: the features of one collection, page by page.

Here belong the API's paging and the shape of its answers, in RD New (EPSG:28992).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.http import Api, BadAnswer

RD_NEW = "http://www.opengis.net/def/crs/EPSG/0/28992"
PAGE = "100"
MOST_PAGES = 100
"""A paging that runs on, or in a circle."""
Feature = Mapping[str, Any]


@dataclass(frozen=True)
class Collection:
    """One collection of an OGC API."""

    api: Api
    name: str

    def features(self, **wanted: str) -> Iterator[Feature]:
        """All features for which `wanted` holds; numbers in them are text as they are written.

        Raises SourceUnreachable, SourceRefused, and SchemaMismatch when the answer has another shape.
        """
        path = f"/collections/{self.name}/items"
        params: dict[str, str] | None = {"f": "json", "limit": PAGE, "crs": RD_NEW, **wanted}
        for _ in range(MOST_PAGES):
            features, params = self.api.json(path, params or {}, self._read)
            yield from features
            if params is None:
                return
        raise SchemaMismatch(f"{self.api.name}: more than {MOST_PAGES} pages of {self.name}")

    def _read(self, said: Any) -> tuple[list[Feature], dict[str, str] | None]:
        features = said.get("features") if isinstance(said, dict) else None
        links = said.get("links", []) if isinstance(said, dict) else None
        if not isinstance(features, list) or not isinstance(links, list):
            raise SchemaMismatch(f"{self.api.name}: an answer without features, expected a FeatureCollection")
        for feature in features:
            if not isinstance(feature, dict) or not {"properties", "geometry"} <= feature.keys():
                raise SchemaMismatch(f"{self.api.name}: a feature without properties or geometry")
        following = [k["href"] for k in links if isinstance(k, dict) and k.get("rel") == "next"]
        return features, self._parameters(str(following[0])) if following else None

    def _parameters(self, address: str) -> dict[str, str]:
        """The parameters of the next page; its address must be of the same collection."""
        if not urlsplit(address).path.endswith(f"/collections/{self.name}/items"):
            raise BadAnswer("a next page that is of something else")
        return dict(parse_qsl(urlsplit(address).query))
