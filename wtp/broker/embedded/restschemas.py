"""REST: schemas of topics."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from wtp.broker.embedded.commands import KeyValue, Schema
from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.rest import namespace_in, path_number, read_object
from wtp.errors import BrokerError, NotFound

TYPES = {
    "NONE": 0, "STRING": 1, "JSON": 2, "PROTOBUF": 3, "AVRO": 4, "BOOLEAN": 5, "INT8": 6,
    "INT16": 7, "INT32": 8, "INT64": 9, "FLOAT": 10, "DOUBLE": 11, "DATE": 12, "TIME": 13,
    "TIMESTAMP": 14, "KEY_VALUE": 15, "INSTANT": 16, "LOCAL_DATE": 17, "LOCAL_TIME": 18,
    "LOCAL_DATE_TIME": 19, "PROTOBUF_NATIVE": 20,
}  # fmt: skip
"""Numbers of schema types on the wire (Schema.Type in PulsarApi.proto)."""

_NAMES = {number: name for name, number in TYPES.items()}


def schema_routes(broker: Broker) -> list[web.RouteDef]:
    """Return the routes."""
    routes = SchemaRoutes(broker)
    base = "/admin/v2/schemas/{tenant}/{namespace}/{topic}"
    return [
        web.get(f"{base}/schema", routes.get),
        web.get(f"{base}/schemas", routes.get_all),
        web.get(f"{base}/schema/{{version}}", routes.get_version),
        web.post(f"{base}/schema", routes.create),
        web.delete(f"{base}/schema", routes.delete),
        web.post(f"{base}/compatibility", routes.compatibility),
        web.post(f"{base}/version", routes.version),
    ]


class SchemaRoutes:
    """What answers for schemas."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def _topic(self, request: web.Request) -> str:
        namespace = namespace_in(request)
        self._broker.store.policies(namespace)
        return f"persistent://{namespace}/{request.match_info['topic']}"

    def _found(self, topic: str, version: bytes | None = None) -> dict[str, Any]:
        found = self._broker.schemas.get(topic, version)
        if found is None:
            raise NotFound("Schema not found")
        schema, number = found
        return {
            "version": int.from_bytes(number),
            "type": _NAMES.get(schema.type, str(schema.type)),
            "timestamp": 0,
            "data": schema.data.decode("utf-8", "replace"),
            "properties": {one.key: one.value for one in schema.properties},
        }

    async def get(self, request: web.Request) -> web.Response:
        """GET .../schema: the newest."""
        return web.json_response(self._found(self._topic(request)))

    async def get_version(self, request: web.Request) -> web.Response:
        """GET .../schema/{version}."""
        number = path_number(request, "version")
        if not 0 <= number < 1 << 63:
            raise NotFound("Schema not found")
        return web.json_response(self._found(self._topic(request), number.to_bytes(8)))

    async def get_all(self, request: web.Request) -> web.Response:
        """GET .../schemas."""
        topic = self._topic(request)
        newest = self._found(topic)["version"]
        found = [self._found(topic, number.to_bytes(8)) for number in range(newest + 1)]
        return web.json_response({"getSchemaResponses": found})

    async def create(self, request: web.Request) -> web.Response:
        """POST .../schema."""
        topic, schema = self._topic(request), await _schema(request)
        try:
            version = self._broker.schemas.add(topic, schema)
        except BrokerError as error:
            if error.code != "incompatible":
                raise
            raise web.HTTPConflict(text=f"Incompatible schema: {error.message}") from error
        return web.json_response({"version": {"version": int.from_bytes(version)}})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE .../schema: all versions; answers with the number that this step has."""
        topic = self._topic(request)
        found = self._broker.schemas.get(topic)
        self._broker.schemas.forget(topic)
        return web.json_response({"version": int.from_bytes(found[1]) + 1 if found else 0})

    async def compatibility(self, request: web.Request) -> web.Response:
        """POST .../compatibility: by type, all that this broker compares."""
        topic, schema = self._topic(request), await _schema(request)
        found = self._broker.schemas.get(topic)
        fits = found is None or found[0].type == schema.type
        values = {"schemaCompatibilityStrategy": "FULL", "compatibility": fits}
        return web.json_response(values, status=202)

    async def version(self, request: web.Request) -> web.Response:
        """POST .../version: the version that a schema has; -1 for none."""
        topic, schema = self._topic(request), await _schema(request)
        number = -1
        found = self._broker.schemas.get(topic)
        for old in range(int.from_bytes(found[1]) + 1 if found else 0):
            one = self._broker.schemas.get(topic, old.to_bytes(8))
            if one is not None and (one[0].type, one[0].data) == (schema.type, schema.data):
                number = old
        return web.json_response({"version": number})


async def _schema(request: web.Request) -> Schema:
    body = await read_object(request)
    kind, text, pairs = body.get("type"), body.get("schema", ""), body.get("properties") or {}
    if kind not in TYPES or not isinstance(text, str) or not isinstance(pairs, dict):
        raise web.HTTPUnprocessableEntity(text="Send type, schema (a string) and properties.")
    properties = [KeyValue(str(key), str(value)) for key, value in pairs.items()]
    name = request.match_info["topic"]
    return Schema(name, text.encode(), TYPES[kind], properties)
