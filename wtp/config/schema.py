"""Every setting, declared once: type, default, limits, help, environment variable.

A field's `env` is the environment variable and gives the command line its flag's help and default;
the dotted path is the key in a profile. Precedence: flag > environment > profile > default.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from wtp.model import Kind

T = TypeVar("T")


def _check_listen(address: str) -> str:
    if address and not re.fullmatch(_ADDRESS, address):
        raise ValueError(f"{address!r} is no HOST:PORT such as 127.0.0.1:9464")
    return _check_port(address) if address else address


def _check_port(address: str) -> str:
    if int(address.rpartition(":")[2]) > 65535:
        raise ValueError("a port is at most 65535")
    return address


def _check_kinds(table: dict[str, T]) -> dict[str, T]:
    for kind in table:
        if kind not in Kind.__members__.values():
            raise ValueError(f"{kind!r} is no kind; kinds are {', '.join(Kind)}")
    return table


def _check_template(template: str) -> str:
    filled = template.replace("{room}", "room").replace("{kind}", "kind")
    if not _TOPIC.fullmatch(filled):
        raise ValueError(f"{template!r} is no topic; the default is {DEFAULT_TEMPLATE}")
    return template


def _check_dead_letter(template: str) -> str:
    if template and not _TOPIC.fullmatch(template.replace("{room}", "r").replace("{kind}", "k")):
        raise ValueError(
            f"{template!r} is no topic; write persistent://public/{{room}}/{{kind}}-dead"
        )
    return template


_HTTP = re.compile(r"https?://[^/\s]+(/\S*)?")
_TOPIC = re.compile(r"(non-)?persistent://[^/{}\s]+/[^/{}\s]+/[^/{}\s]+")
_ADDRESS = r"(\[[0-9a-fA-F:]+\]|[^:\s\[\]]+):[0-9]{1,5}"
_SIZE = r"[1-9][0-9]{1,3}x[1-9][0-9]{1,3}"
_BITRATE = r"[0-9]+(\.[0-9]+)?[kM]?"
PATTERNS = {
    f"^{_ADDRESS}$": "HOST:PORT such as 127.0.0.1:4433",
    f"^{_SIZE}$": "WIDTHxHEIGHT such as 640x480, of 10 to 9999 pixels each",
    f"^{_BITRATE}$": "a number of bit/s such as 2.5M, 800k or 64000",
}
"""What to write instead of a text that does not match a pattern below."""

Address = Annotated[str, Field(pattern=f"^{_ADDRESS}$"), AfterValidator(_check_port)]
"""`HOST:PORT`, an IPv6 host in brackets; port 0 takes a free one."""

DEFAULT_TEMPLATE = "persistent://public/{room}/{kind}"
Template = Annotated[str, AfterValidator(_check_template)]
"""Name of a topic with the places `{room}` and `{kind}`."""

KindTable = AfterValidator(_check_kinds)


def setting(default: Any, help_text: str, env: str = "", **limits: Any) -> Any:
    """A setting: its default, one sentence for people, its environment variable."""
    return Field(default, description=help_text, json_schema_extra={"env": env}, **limits)


class Section(BaseModel):
    """A group of settings; unknown keys are refused, values are not bent into type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class LimitSettings(Section):
    """Caps that keep one peer from taking everything (notes on security)."""

    sessions: int = setting(1000, "Sessions in all.", ge=1)
    sessions_per_address: int = setting(200, "Sessions from one address; loopback is exempt.", ge=1)
    half_open: int = setting(256, "Handshakes under way at once.", ge=1)
    handshake_s: float = setting(5.0, "Seconds a handshake may take.", gt=0)
    idle_s: float = setting(15.0, "Seconds of silence that end a session.", gt=0)
    tracks_per_session: int = setting(64, "Tracks one session may publish.", ge=1, le=100)
    streams_per_session: int = setting(256, "Open incoming streams of one session.", ge=4)
    reliable_buffer_bytes: int = setting(
        8 * 1024 * 1024, "Unreceipted bytes of one reliable track before it is pushed back.", ge=1
    )


class QueueSettings(Section):
    """The router's queue of each live track; whole objects are dropped, non-key first."""

    audio_objects: int = setting(50, "Audio objects that wait at most.", ge=1)
    video_objects: int = setting(60, "Video and screen objects that wait at most.", ge=1)
    unreceipted: int = setting(4, "Objects of a live track handed to Pulsar at once.", ge=1)
    stall_ms: int = setting(500, "Waiting time after which the backlog goes.", ge=1)


class RouterSettings(Section):
    """`wtp router` and whoever connects to it."""

    listen: Address = setting(
        "127.0.0.1:4433", "UDP and TCP address to listen on.", "WTP_ROUTER_LISTEN"
    )
    url: str = setting("https://127.0.0.1:4433/wt", "URL of the router.", "WTP_ROUTER")
    certs: str = setting(
        "", "Folder of the certificate; empty: ./certs in a checkout, else the data folder's.",
        "WTP_CERTS",
    )  # fmt: skip
    insecure_no_auth: bool = setting(
        False, "Allow a public address without authentication.", "WTP_INSECURE_NO_AUTH"
    )
    retry: bool | None = setting(
        None, "Validate client addresses by Retry; default: on for public addresses."
    )
    mtu: int = setting(0, "UDP payload size in bytes; 0 probes it.", "WTP_MTU", ge=0, le=9000)
    origins: list[str] = setting(
        [], "Origins of pages that may connect; empty: pages of this host and files."
    )
    keyframe_s: float = setting(
        0.5, "Seconds from one request for a key frame of a track to the next.", ge=0.0
    )
    metrics_dir: str = setting(
        "", "Folder for buffer_metrics_*.csv and buffer_events_*.log; empty: none are written.",
        "WTP_METRICS_DIR",
    )  # fmt: skip
    metrics_mb: int = setting(
        64, "Megabytes that these files take at most; the oldest go first.", ge=1
    )
    limits: LimitSettings = LimitSettings()
    queues: QueueSettings = QueueSettings()


class BrokerSettings(Section):
    """The broker, embedded or a Pulsar cluster."""

    url: str = setting("pulsar://127.0.0.1:6650", "URL of the broker.", "WTP_BROKER")
    admin: str = setting("http://127.0.0.1:8080", "URL of the broker's admin API.", "WTP_ADMIN")
    start: bool = setting(
        False, "Start an embedded broker when nothing answers at the URL.", "WTP_BROKER_START"
    )
    listen: Address = setting(
        "127.0.0.1:6650", "Address of the embedded broker.", "WTP_BROKER_LISTEN"
    )
    http: Address = setting(
        "127.0.0.1:8080", "HTTP address of the embedded broker.", "WTP_BROKER_HTTP"
    )
    data: str = setting(
        "", "Data folder of the embedded broker; empty: broker/ in WTP_HOME.", "WTP_BROKER_DATA"
    )
    fsync: Literal["never", "interval", "always"] = setting(
        "interval", "When written data is forced to disk: never, interval (1 s), always (before "
        "the receipt).", "WTP_FSYNC",
    )  # fmt: skip
    segment_mb: int = setting(64, "Size at which a log segment is closed, MiB.", ge=1, le=1024)
    websocket: str = setting(
        "", "URL of the broker's WebSocket API; empty: that of the admin URL.",
        "WTP_BROKER_WEBSOCKET",
    )  # fmt: skip
    token_file: str = setting("", "File of the token for the broker.", "WTP_BROKER_TOKEN_FILE")
    token: str = setting(
        "", "The token itself; better in the environment than in a file that others read.",
        "WTP_BROKER_TOKEN", repr=False,
    )  # fmt: skip
    ca: str = setting(
        "", "PEM file of the certificates that sign the broker's; empty: the system's.",
        "WTP_BROKER_CA",
    )  # fmt: skip
    cert: str = setting("", "PEM file of a TLS client certificate.", "WTP_BROKER_CERT")
    key: str = setting("", "PEM file of the client certificate's key.", "WTP_BROKER_KEY")
    verify_host: bool = setting(True, "Check that the broker's certificate bears its name.")


class RoomSettings(Section):
    """Rooms are Pulsar namespaces; whoever creates one sets its policies."""

    room: str = setting("default", "Room to publish to or read from.", "WTP_ROOM")
    create: bool = setting(False, "Create a missing room through the admin URL.")
    retention_minutes: int = setting(1440, "Minutes that messages are kept; -1: for ever.", ge=-1)
    retention_mb: int = setting(1024, "MiB of messages kept per topic; -1: no limit.", ge=-1)
    deduplication: bool = setting(True, "Drop what a producer sends twice.")


class TopicSettings(Section):
    """Where objects go: a template per kind with `{room}` and `{kind}`."""

    template: Template = setting(DEFAULT_TEMPLATE, "Topic of every kind that has none of its own.")
    kinds: Annotated[dict[str, Template], KindTable] = setting({}, "Topic template by kind.")
    partitions: int = setting(
        0, "Partitions of topics that the router creates; 0: not partitioned.", ge=0, le=1000
    )

    def topic(self, room: str, kind: Kind) -> str:
        """The full topic name of a room's kind."""
        template = self.kinds.get(kind.value, self.template)
        return template.replace("{room}", room).replace("{kind}", kind.value)


class LegacySettings(Section):
    """Senders that speak the original platform's 32-byte framing."""

    content_types: Annotated[dict[str, str], KindTable] = setting({}, "Content type by kind.")


class ServiceSettings(Section):
    """HTTP processors that a kind goes through; what is None is as in `service_defaults`."""

    url: str | None = setting(None, "URL of the one processor.")
    urls: list[str] = setting([], "URLs of several; tracks are spread over them.")
    data_format: Literal["binary", "json"] = setting("binary", "Form of request and answer.")
    max_retries: int | None = setting(None, "Retries of one object.", ge=0, le=100)
    timeout: float | None = setting(None, "Seconds one try may take.", gt=0, le=300)

    @model_validator(mode="after")
    def _named(self) -> ServiceSettings:
        if bool(self.url) == bool(self.urls):
            raise ValueError("give either url or urls")
        for url in self.all_urls:
            if not _HTTP.fullmatch(url):
                raise ValueError(f"{url!r} is no URL; write http://HOST:8081/process")
        return self

    @property
    def all_urls(self) -> list[str]:
        """Every URL, however it was written."""
        return [self.url] if self.url else self.urls


class ServiceDefaults(Section):
    """What holds for every processor of `services:` (the original platform's `global:`)."""

    max_retries: int = setting(3, "Retries of one object.", ge=0, le=100)
    timeout: float = setting(5.0, "Seconds one try may take.", gt=0, le=300)
    in_flight: int = setting(64, "Objects with one processor at once.", ge=1, le=10_000)
    breaker_failures: int = setting(5, "Failures in a row that open the circuit.", ge=1)
    breaker_s: float = setting(2.0, "Seconds the circuit stays open before one try.", gt=0)


class ProcessorSettings(Section):
    """`wtp processor`."""

    listen: Address = setting("127.0.0.1:8081", "Address to serve on.", "WTP_PROCESSOR_LISTEN")
    insecure_no_auth: bool = setting(
        False, "Allow a public address without authentication.", "WTP_PROCESSOR_INSECURE_NO_AUTH"
    )
    send_to_pulsar: bool = setting(
        True, "Publish what was processed; false: return it to the router, which does.",
        "WTP_SEND_TO_PULSAR",
    )  # fmt: skip
    timeout_s: float = setting(5.0, "Seconds user code may take for one object.", gt=0)
    in_flight: int = setting(64, "Objects under way at once.", ge=1)
    dead_letter: Annotated[str, AfterValidator(_check_dead_letter)] = setting(
        "", "Topic template for objects that user code failed on; empty: they are dropped."
    )


class PublishSettings(Section):
    """What `wtp publish` sends when no flag says otherwise."""

    codec: Literal["h264", "vp8", "vp9", "av1", "jpeg"] = setting(
        "h264", "Video codec.", "WTP_CODEC"
    )
    encoder: str = setting(
        "auto", "Video encoder: auto, or a name of wtp devices --encoders.", "WTP_ENCODER"
    )
    fps: float = setting(30.0, "Pictures a second.", "WTP_FPS", gt=0, le=240)
    size: str = setting(
        "640x480",
        "Picture size, WIDTHxHEIGHT.",
        "WTP_SIZE",
        pattern=f"^{_SIZE}$",
    )
    bitrate: str = setting(
        "2.5M", "Video bit rate in bit/s; k and M are understood.", "WTP_BITRATE",
        pattern=f"^{_BITRATE}$",
    )  # fmt: skip
    min_bitrate: str = setting(
        "150k", "Video bit rate that congestion goes down to, before it takes pictures.",
        "WTP_MIN_BITRATE", pattern=f"^{_BITRATE}$",
    )  # fmt: skip
    adapt: bool = setting(True, "Let bit rate, then picture rate, follow the network.", "WTP_ADAPT")
    quality: int = setting(70, "JPEG quality.", "WTP_QUALITY", ge=1, le=100)
    gop: int = setting(60, "Pictures from key frame to key frame.", "WTP_GOP", ge=1, le=600)
    audio_codec: Literal["opus", "pcm"] = setting("opus", "Audio codec.", "WTP_AUDIO_CODEC")
    rate: int = setting(
        48_000, "Samples a second of a microphone; Opus takes 48000.", "WTP_RATE",
        ge=8_000, le=192_000,
    )  # fmt: skip
    channels: int = setting(1, "Channels of a microphone.", "WTP_CHANNELS", ge=1, le=2)
    audio_bitrate: str = setting(
        "64k", "Opus bit rate in bit/s; k is understood.", "WTP_AUDIO_BITRATE",
        pattern=f"^{_BITRATE}$",
    )  # fmt: skip
    denoise: Literal["auto", "off", "webrtc", "deepfilter"] = setting(
        "auto", "Noise suppression of a microphone; auto: webrtc where it is installed.",
        "WTP_DENOISE",
    )  # fmt: skip


class WatchSettings(Section):
    """`wtp watch`, and sound that is played."""

    delay: Literal["auto"] | int = setting(
        "auto", "Milliseconds from capture to show; auto: as little as the jitter allows."
    )
    max_delay_ms: int = setting(1000, "What auto goes up to.", ge=20, le=10_000)


class LoggingSettings(Section):
    """Logs go to stderr."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Least severity that is logged.", "WTP_LOG_LEVEL"
    )
    format: Literal["text", "json"] = setting(
        "text", "Form of a log line: text, or json (one object a line).", "WTP_LOG_FORMAT"
    )


class MetricsSettings(Section):
    """Live figures of this process for `wtp dashboard` and Prometheus (the router has its own)."""

    listen: Annotated[str, AfterValidator(_check_listen)] = setting(
        "", "HOST:PORT that serves /stats and /metrics; port 0 takes a free one; empty: none.",
        "WTP_METRICS",
    )  # fmt: skip


class TracingSettings(Section):
    """Hops of a sampled object as OpenTelemetry spans (the extra `otel`)."""

    endpoint: str = setting(
        "", "URL of an OTLP/HTTP collector such as http://127.0.0.1:4318; empty: no traces.",
        "WTP_OTLP",
    )  # fmt: skip
    every_s: float = setting(1.0, "Seconds from one sampled object of a track to the next.", gt=0.0)


class Settings(Section):
    """All settings of a profile."""

    router: RouterSettings = RouterSettings()
    broker: BrokerSettings = BrokerSettings()
    rooms: RoomSettings = RoomSettings()
    topics: TopicSettings = TopicSettings()
    legacy: LegacySettings = LegacySettings()
    services: Annotated[dict[str, ServiceSettings], AfterValidator(_check_kinds)] = setting(
        {}, "HTTP processors by kind; empty: objects go straight to the broker."
    )
    service_defaults: ServiceDefaults = ServiceDefaults()
    processor: ProcessorSettings = ProcessorSettings()
    publish: PublishSettings = PublishSettings()
    watch: WatchSettings = WatchSettings()
    logging: LoggingSettings = LoggingSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()


def find(key: str) -> tuple[Any, str, str]:
    """Look a setting up by its dotted key.

    Returns:
        Its default, its help sentence and its environment variable ("" when it has none).
    """
    *sections, name = key.split(".")
    model: type[BaseModel] = Settings
    for section in sections:
        annotation = model.model_fields[section].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)  # noqa: S101, PT018 - the schema above
        model = annotation
    info = model.model_fields[name]
    extra = info.json_schema_extra
    env = str(extra.get("env", "")) if isinstance(extra, dict) else ""
    return info.default, info.description or "", env
