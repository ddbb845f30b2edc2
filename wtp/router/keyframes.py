"""Key frames on request: `POST /rooms/R/tracks/PUBLISHER/NAME/keyframe` at the HTTPS side.

The router asks the publisher, whose encoder makes the next picture a key picture. It asks once in
`router.keyframe_s` seconds for each track; who comes between gets 429 and is served by the key
frame that is on its way. `PUBLISHER/NAME` may be one part of the path (`PUBLISHER%2FNAME`), or only
the name where no other track of the room has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from aiohttp import web

from wtp.model import Track, inter_coded
from wtp.router.routes import LiveRoute, Route

SHOWN = 80
"""Characters of a wrong name that are repeated."""

Routes = Callable[[], Mapping[Track, Route]]
Allowed = Callable[[str, Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request.

    Attributes:
        status: Of HTTP: 202, 404, 409 or 429.
        code: In a word.
        message: In a sentence.
        retry_s: Seconds after which another request makes sense; 0 for not at all.
    """

    status: int
    code: str
    message: str
    retry_s: float = 0.0


def request(routes: Mapping[Track, Route], room: str, name: str, *, tell: bool = True) -> Answer:
    """Ask for a key frame of a track.

    Args:
        routes: All there are.
        room: Of the track.
        name: `PUBLISHER/NAME`, or the name alone where it is the only one.
        tell: Whether a wrong name is answered with the right ones.
    """
    known = {f"{t.publisher}/{t.name}": route for t, route in routes.items() if t.room == room}
    found = [full for full in known if name in (full, full.partition("/")[2])]
    if name in known:
        found = [name]
    if not found:
        hint = f" There are: {', '.join(sorted(known)) or 'none'}." if tell else ""
        sentence = f"Room {room[:SHOWN]!r} has no track {name[:SHOWN]!r}.{hint}"
        return Answer(404, "not-found", sentence)
    if len(found) > 1:
        hint = f" Choose one of {', '.join(sorted(found))}." if tell else ""
        return Answer(409, "ambiguous", f"Several publishers have a track {name!r}.{hint}")
    return _ask(known[found[0]])


def _ask(route: Route) -> Answer:
    if not isinstance(route, LiveRoute) or not inter_coded(route.content_type):
        return Answer(
            409,
            "no-key-frames",
            f"{route.track} is {route.content_type}: each of its objects stands alone.",
        )
    wait_us = route.ask_key()
    if wait_us is None:
        return Answer(
            409, "publisher-away", f"The publisher of {route.track} cannot be asked at the moment."
        )
    if wait_us:
        message = f"A key frame of {route.track} was asked for just now."
        return Answer(429, "too-often", message, wait_us / 1e6)
    return Answer(202, "asked", f"The publisher of {route.track} was asked.")


def web_routes(routes: Routes, allowed: Allowed) -> list[web.RouteDef]:
    """The two paths, for the application.

    Args:
        routes: All tracks at this moment.
        allowed: Whether pages of an origin may ask, by the origin and the request's `:authority`.
    """

    async def ask(call: web.Request) -> web.Response:
        origin = call.headers.get("Origin", "")
        if origin and not allowed(origin, {":authority": call.host}):
            raise web.HTTPForbidden(text="pages of this origin may not ask\n")
        parts = call.match_info
        name = "/".join(parts[key] for key in ("publisher", "name") if key in parts)
        here = bool(call.remote) and ip_address(call.remote or "").is_loopback
        return _response(request(routes(), parts["room"], name, tell=here), origin)

    return [
        web.post("/rooms/{room}/tracks/{name}/keyframe", ask),
        web.post("/rooms/{room}/tracks/{publisher}/{name}/keyframe", ask),
    ]


def _response(answer: Answer, origin: str) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if origin:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Vary"] = "Origin"
    body: dict[str, Any] = {"code": answer.code, "message": answer.message}
    if answer.retry_s:
        headers["Retry-After"] = str(math.ceil(answer.retry_s))
        body["retry_after_s"] = round(answer.retry_s, 3)
    return web.json_response(body, status=answer.status, headers=headers)
