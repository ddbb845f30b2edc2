"""`POST /process` and `GET /health`: the HTTP side of a processor.

An object is answered only when it is processed and, where the processor publishes itself, receipted
by the broker. Statuses and forms are those of `wtp.wire.process`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from aiohttp import web

from wtp.broker.messages import permanent
from wtp.clock import monotonic_us
from wtp.errors import BrokerError, Refused, WireError, WtpError
from wtp.metrics import Latency, Ledger
from wtp.model import Kind, Object
from wtp.processor.code import CodeFailed, CodeMissing
from wtp.processor.isolate import Made, Runner
from wtp.processor.lanes import Lane, Lanes, OutOfTurn
from wtp.processor.outlet import RECEIPT_S, Outlet, Receipt
from wtp.wire.process import (
    JSON_TYPE,
    PATH,
    PUBLISHED,
    ROOM_FOR_HEADS_BYTES,
    Format,
    Parcel,
    decode_request,
    encode_error,
    encode_one,
    encode_several,
    form_of,
)

log = logging.getLogger("wtp.processor")

BODY_S = 10.0
"""How long a request's body may take to arrive."""

RETRY_AFTER_S = 1
REMEMBER_S = 60.0
MOST_REMEMBERED = 1000
"""How long and how many objects are remembered on which the code failed. A router whose own time is
up before the code's asks again, and is to learn of the failure instead of trying for ever."""


_CODES = {"media-type": 415, "too-large": 413}


Name = tuple[str, str, int]
"""Track, publisher run and sequence of an object."""


class Again(Exception):
    """An object cannot be served now; the argument says why."""


class Never(Exception):
    """The broker refuses an object for good; the arguments are the reason's name and a sentence."""


class Server:
    """Serves one kind with one piece of code.

    Args:
        kind: Of the objects.
        runner: Applies the code.
        outlet: Publishes; None when objects go back to the router.
        dead: Where objects go that the code failed on; None for nowhere.
        most: Objects under way at once.
    """

    def __init__(
        self, kind: Kind, runner: Runner, outlet: Outlet | None, dead: Outlet | None, most: int
    ) -> None:
        self.ledger = Ledger()
        self.refused: Counter[int] = Counter()
        """Requests without an object that could be served, by status."""
        self.took = Latency()
        self.stopping = False
        self._kind = kind
        self._runner = runner
        self._outlet = outlet
        self._dead = dead
        self._most = most
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._lanes = Lanes()
        self._failed: OrderedDict[Name, tuple[float, CodeFailed]] = OrderedDict()

    def application(self, health: Callable[[], tuple[bool, dict[str, Any]]]) -> web.Application:
        """The routes.

        Args:
            health: Tells whether it works, and in what state it is.
        """

        async def tell_health(_: web.Request) -> web.Response:
            good, state = health()
            return web.json_response(state, status=200 if good else 503)

        most_bytes = 3 * self._kind.max_bytes + ROOM_FOR_HEADS_BYTES
        app = web.Application(client_max_size=most_bytes)
        app.add_routes([web.post(PATH, self.process), web.get("/health", tell_health)])
        return app

    async def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is under way; tells whether that came true in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def process(self, request: web.Request) -> web.Response:
        """Answer one object."""
        if self.stopping:
            return self._refuse(503, "The processor is leaving.")
        if self._under_way >= self._most:
            return self._refuse(503, f"{self._most} objects are under way.", RETRY_AFTER_S)
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._answer(request)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _answer(self, request: web.Request) -> web.Response:
        start_us = monotonic_us()
        try:
            async with asyncio.timeout(BODY_S):
                body = await request.read()
            data_format = form_of(request.headers)
            parcel = decode_request(request.headers, body)
            obj = self._checked(parcel)
        except WireError as error:
            return self._refuse(_CODES.get(error.code, 400), str(error))
        except web.HTTPRequestEntityTooLarge:
            most = self._kind.max_bytes
            return self._refuse(413, f"The body is too large; {self._kind} has {most} bytes.")
        except TimeoutError:
            return self._refuse(408, f"The body did not arrive within {BODY_S:g} s.")
        self.ledger.offer(len(parcel.payload))
        try:
            response = await self._serve(parcel, obj, data_format)
        except BaseException:
            self.ledger.drop("broken-off")
            raise
        self.took.add(monotonic_us() - start_us)
        return response

    def _checked(self, parcel: Parcel) -> Object:
        obj = parcel.object()
        if obj.kind is not self._kind:
            raise WireError(
                f"This processor takes {self._kind}, not {obj.kind}.",
                hint="Check the router's services section.",
            )
        return obj

    async def _serve(self, parcel: Parcel, obj: Object, data_format: Format) -> web.Response:
        name = (parcel.track, parcel.properties.get("instance", ""), obj.seq)
        lane = self._lanes.of(*name[:2], self._holds)
        try:
            made, receipts = await self._in_turn(lane, name, parcel, obj)
            await self._receipted(lane, obj, receipts)
        except CodeFailed as error:
            self.ledger.drop(error.code)
            if self._remember(name, error) and self._dead is not None:
                await self._dead.bury(parcel, error.message)
            return _error(422, str(error))
        except OutOfTurn as error:
            self.ledger.drop(error.code)
            return _error(422 if error.code == "late" else 503, error.message)
        except Never as error:
            reason, sentence = error.args
            self.ledger.drop(reason)
            return _error(_CODES.get(reason, 400), sentence)
        except (CodeMissing, Again) as error:
            self.ledger.drop("unavailable")
            return _error(503, str(error))
        if not made.parcels:
            self.ledger.drop(made.reason or "filtered")
            return web.Response(status=204)
        self.ledger.deliver()
        if self._outlet is not None:
            return web.Response(status=204, headers={PUBLISHED: str(len(receipts))})
        one = len(made.parcels) == 1
        headers, body = (
            encode_one(made.parcels[0], data_format)
            if one
            else encode_several(made.parcels, data_format)
        )
        return web.Response(body=body, headers=headers)

    @property
    def _holds(self) -> bool:
        """Whether objects that must come again hold up those behind them."""
        return self._kind.reliable and self._outlet is not None

    async def _in_turn(
        self, lane: Lane, name: Name, parcel: Parcel, obj: Object
    ) -> tuple[Made, list[Receipt]]:
        """Process an object and hand the outcome to the broker's client, in the track's order."""
        await lane.enter(obj.seq)
        comes_again = True
        try:
            self._recall(name)
            made = await self._runner.process(parcel)
            if obj.kind.reliable and len(made.parcels) > 1:
                raise CodeFailed(
                    f"The code made {len(made.parcels)} objects of one of a reliable kind.",
                    hint="It may make one: its sequence names it to the broker.",
                    code="wrong-type",
                )
            receipts: list[Receipt] = []
            if self._outlet is not None:
                receipts = await self._hand_over(self._outlet, made, parcel, obj)
            comes_again = False
            return made, receipts
        except (CodeFailed, OutOfTurn):
            comes_again = False
            raise
        finally:
            lane.leave(obj.seq, failed=comes_again)

    def _recall(self, name: Name) -> None:
        """Raise what the code failed with on this object a short while ago."""
        at_s, error = self._failed.get(name, (0.0, None))
        if error is not None and asyncio.get_running_loop().time() - at_s < REMEMBER_S:
            raise error.with_traceback(None)

    def _remember(self, name: Name, error: CodeFailed) -> bool:
        """Keep a failure in mind; tells whether it is a new one."""
        _, before = self._failed.get(name, (0.0, None))
        if before is error:
            return False
        self._failed[name] = (asyncio.get_running_loop().time(), error)
        if len(self._failed) > MOST_REMEMBERED:
            self._failed.popitem(last=False)
        return True

    async def _hand_over(
        self, outlet: Outlet, made: Made, parcel: Parcel, obj: Object
    ) -> list[Receipt]:
        try:
            async with asyncio.timeout(RECEIPT_S):
                return await outlet.hand_over(made.parcels, parcel, obj)
        except OutOfTurn:
            raise
        except (BrokerError, Refused) as error:
            raise Again(str(error)) from error
        except TimeoutError:
            raise Again(f"The broker takes longer than {RECEIPT_S:g} s.") from None

    async def _receipted(self, lane: Lane, obj: Object, receipts: list[Receipt]) -> None:
        """Wait for the broker's receipts."""
        if not receipts:
            return
        try:
            async with asyncio.timeout(RECEIPT_S):
                await asyncio.gather(*receipts)
        except (BrokerError, Refused, TimeoutError) as error:
            for receipt in receipts:
                receipt.cancel()
            if isinstance(error, WtpError) and permanent(error):
                raise Never(error.code, str(error)) from error
            lane.fail(obj.seq)
            raise Again(str(error) or f"No receipt within {RECEIPT_S:g} s.") from error

    def _refuse(self, status: int, sentence: str, retry_after_s: int = 0) -> web.Response:
        self.refused[status] += 1
        return _error(status, sentence, retry_after_s)


def _error(status: int, sentence: str, retry_after_s: int = 0) -> web.Response:
    headers = {"Content-Type": JSON_TYPE}
    if retry_after_s:
        headers["Retry-After"] = str(retry_after_s)
    return web.Response(status=status, body=encode_error(sentence), headers=headers)
