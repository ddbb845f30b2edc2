"""`wtp processor`: user code in the path of objects; its template, its test, its speed."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wtp.cli.options import (
    PROFILE,
    Admin,
    Broker,
    ChildFlag,
    LogFormat,
    LogLevel,
    Metrics,
    Output,
    OutputFormat,
    Quiet,
    load_settings,
    option,
    parse_bytes,
    parse_seconds,
)
from wtp.cli.out import put
from wtp.cli.run import run_role
from wtp.errors import UsageError
from wtp.model import Kind

if TYPE_CHECKING:
    from wtp.processor.run import Processor
    from wtp.processor.worker import Worker

app = typer.Typer(
    no_args_is_help=True,
    help="Apply code to objects: over HTTP in the router's path, or from topic to topic.",
)

DIFFERENT = 1
DEFAULT_MEMORY = "4GiB"


def _keep_profile(ctx: typer.Context, value: str) -> str:
    ctx.meta[PROFILE] = value
    return value


Code = Annotated[
    str,
    typer.Option(
        "--code",
        metavar="CODE",
        help="module:function, file.py:function, or a built-in: passthrough, motion, thumbnail, "
        "loudness, chat-filter.",
    ),
]
CodeArgument = Annotated[
    str,
    typer.Argument(metavar="CODE", help="module:function, file.py:function or a built-in's name."),
]
Workers = Annotated[
    int,
    typer.Option("--workers", min=1, max=64, help="Processes for the code; a track keeps to one."),
]
Reload = Annotated[bool, typer.Option("--reload", help="Load the code again when it is edited.")]
MaxMemory = Annotated[
    int,
    typer.Option(
        "--max-memory", metavar="SIZE", parser=parse_bytes,
        help="Data that a process of the code may have; 0: no limit.",
    ),
]  # fmt: skip
ConfigFile = Annotated[
    str,
    typer.Option(
        "--profile", "--config",
        help="Profile of settings: a name or a file's path.",
        envvar="WTP_PROFILE",
        callback=_keep_profile,
        rich_help_panel="Common",
    ),
]  # fmt: skip
_TOPIC = "Topic to topic"
_TOPIC_FLAGS = {"topic": "--topic", "to": "--to", "subscription": "--subscription"}
_HTTP_FLAGS = {
    "listen": "--listen",
    "in_flight": "--in-flight",
    "send_to_pulsar": "--send-to-pulsar or --return",
}
KindOption = Annotated[
    Kind | None,
    typer.Option("--kind", help="Kind of the objects; default: the built-in's own, or video."),
]


def serve(
    ctx: typer.Context,
    code: Code = "passthrough",
    listen: Annotated[
        str | None, option("processor.listen", "--listen", metavar="HOST:PORT")
    ] = None,
    send_to_pulsar: Annotated[
        bool | None,
        option(
            "processor.send_to_pulsar",
            "--send-to-pulsar/--return",
            help_text="Publish what was processed, or return it to the router, which does.",
        ),
    ] = None,
    workers: Workers = 1,
    reload: Reload = False,
    timeout: Annotated[
        float | None,
        option("processor.timeout_s", "--timeout", metavar="TIME", parser=parse_seconds),
    ] = None,
    in_flight: Annotated[int | None, option("processor.in_flight", "--in-flight")] = None,
    dead_letter: Annotated[
        str | None, option("processor.dead_letter", "--dead-letter", metavar="TOPIC")
    ] = None,
    max_memory: MaxMemory = DEFAULT_MEMORY,  # type: ignore[assignment]  # the parser's input
    insecure_no_auth: Annotated[
        bool | None, option("processor.insecure_no_auth", "--insecure-no-auth")
    ] = None,
    from_topic: Annotated[
        bool,
        typer.Option(
            "--from-topic",
            rich_help_panel=_TOPIC,
            help="Read the kind's topic and publish to a derived one, instead of serving HTTP.",
        ),
    ] = False,
    topic: Annotated[
        str, typer.Option("--topic", rich_help_panel=_TOPIC, help="Topic to read instead.")
    ] = "",
    to: Annotated[
        str, typer.Option("--to", rich_help_panel=_TOPIC, help="Topic to publish to instead.")
    ] = "",
    subscription: Annotated[
        str,
        typer.Option(
            "--subscription", rich_help_panel=_TOPIC, help="Its name; default: wtp- and the code's."
        ),
    ] = "",
    room: Annotated[
        str | None, option("rooms.room", "--room", panel=_TOPIC, metavar="ROOM")
    ] = None,
    broker: Broker = None,
    admin: Admin = None,
    quiet: Quiet = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    profile: ConfigFile = "local",
    child: ChildFlag = False,
) -> None:
    """Serve POST /process and GET /health, or work from topic to topic (--from-topic).

    The code gets one object after the other, as its annotations ask: objects,
    text, bytes, decoded pictures or sound. See wtp processor new.
    """
    settings = load_settings(ctx)
    kind = Kind(str(ctx.info_name))
    from wtp.processor.code import CodeSpec

    spec = CodeSpec.parse(code)
    _check_form(ctx, from_topic)
    from wtp.ui import processor as shown

    role: Processor | Worker
    more: dict[str, Any] = {"workers": workers, "reload": reload, "max_memory_bytes": max_memory}
    if from_topic:
        from wtp.processor.worker import Worker

        more.update(topic=topic, to=to, subscription=subscription)
        role, announce = Worker(settings, kind, spec, **more), shown.announce_work
    else:
        from wtp.processor.run import Processor

        role, announce = Processor(settings, kind, spec, **more), shown.announce
    run_role(
        role,
        name="processor",
        settings=settings,
        child=child,
        quiet=quiet,
        announce=announce,
        line=shown.line,
        summary=shown.summary,
    )


def _check_form(ctx: typer.Context, from_topic: bool) -> None:
    """Refuse flags of the one form with the other, which would have no effect."""
    for name, flag in _HTTP_FLAGS.items() if from_topic else _TOPIC_FLAGS.items():
        source = ctx.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        if from_topic:
            raise UsageError(f"{flag} is for HTTP, not for --from-topic.", hint=f"Omit {flag}.")
        raise UsageError(f"{flag} goes with --from-topic.", hint="Add --from-topic.")


for _kind in Kind:
    app.command(_kind.value, help=f"Apply code to {_kind} objects, over HTTP or topic to topic.")(
        serve
    )


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="File to write.")],
    kind: Annotated[Kind, typer.Option("--kind", help="Kind of the objects.")] = Kind.VIDEO,
    output: OutputFormat = Output.TABLE,
) -> None:
    """Write a first version of a processor, with comments, and a test beside it."""
    from wtp.processor.template import write

    files = write(file, kind)
    shown = "\n".join([
        f"wrote {files[0]} and {files[1]}",
        f"try   wtp processor {kind} --code {files[0]} --reload",
        f"test  pytest {files[1]}",
    ])  # fmt: skip
    put({"files": [str(path) for path in files], "kind": kind.value}, shown, output)


@app.command("test")
def compare(
    code: CodeArgument,
    recording: Annotated[
        Path,
        typer.Argument(
            metavar="RECORDING", help="Folder of wtp consume --save, or a .jsonl file of objects."
        ),
    ],
    kind: KindOption = None,
    golden: Annotated[
        Path | None,
        typer.Option("--golden", metavar="FILE", help="What came out once; default: by the code."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write the golden file instead of comparing.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="TIME", parser=parse_seconds, help="For one object."),
    ] = 5.0,
    output: OutputFormat = Output.TABLE,
) -> None:
    """Put recorded objects through code, and compare with what came out before."""
    from wtp.processor import golden as replays
    from wtp.processor.code import CodeSpec
    from wtp.processor.isolate import make_runner
    from wtp.processor.recorded import read_recorded
    from wtp.ui.processor import compared

    spec = CodeSpec.parse(code)
    of = kind or spec.usual_kind
    recorded = read_recorded(recording, of)
    file = golden or replays.golden_file(spec)

    async def run() -> list[dict[str, Any]]:
        runner = make_runner(spec, of, timeout_s=timeout)
        await runner.start()
        try:
            return await replays.replay(runner, recorded)
        finally:
            await runner.close()

    lines = asyncio.run(run())
    result = replays.update(file, lines) if update else replays.compare(file, lines)
    values = {**asdict(result), "golden": str(file)}
    put(values, compared(values), output)
    if result.count:
        raise typer.Exit(DIFFERENT)


@app.command("bench")
def measure(
    code: CodeArgument,
    recording: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RECORDING]", help="Objects to use; default: made up, as large as usual."
        ),
    ] = None,
    kind: KindOption = None,
    duration: Annotated[
        float,
        typer.Option(
            "--duration", metavar="TIME", parser=parse_seconds, help="How long to measure."
        ),
    ] = 5.0,
    workers: Workers = 1,
    output: OutputFormat = Output.TABLE,
) -> None:
    """The speed of code: objects a second and time per object, beside a bare pass-through."""
    from wtp.processor.code import CodeSpec
    from wtp.processor.measure import run, sample
    from wtp.processor.recorded import read_recorded
    from wtp.ui.processor import speed

    spec = CodeSpec.parse(code)
    of = kind or spec.usual_kind
    objects = read_recorded(recording, of) if recording else sample(of)
    sys.stderr.write(f"about {2 * duration:.0f} seconds ...\n")
    figures = asyncio.run(run(spec, of, objects, duration, workers))
    put(figures, speed(figures), output)
