"""Names of topics and namespaces: pure functions, no I/O."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from wtp.errors import UsageError
from wtp.model import check_name

DEFAULT_TEMPLATE = "persistent://public/{room}/{kind}"
"""Topic of a kind in a room, unless the profile says otherwise."""

DOMAINS = ("persistent", "non-persistent")
"""What stands before `://` in a topic name."""

MAX_TOPIC_CHARS = 1024
"""Longest complete topic name taken; far above anything sensible, far below a frame's limit."""

_ENTITY = re.compile(r"[-=:.\w]{1,255}", re.ASCII)
_PARTITION = re.compile(r"(.+)-partition-(0|[1-9][0-9]{0,8})", re.DOTALL)
_EXAMPLE = "Write persistent://tenant/namespace/topic, tenant/namespace/topic, or just a topic."


@dataclass(frozen=True, slots=True)
class TopicName:
    """A topic name taken apart.

    Attributes:
        domain: `persistent` or `non-persistent`.
        tenant: First part.
        namespace: Second part, without the tenant.
        local: Third part, with the partition suffix when there is one.
        partition: Number of the partition, -1 for a whole topic.
    """

    domain: str
    tenant: str
    namespace: str
    local: str
    partition: int = -1

    def __str__(self) -> str:
        return f"{self.domain}://{self.tenant}/{self.namespace}/{self.local}"

    @property
    def persistent(self) -> bool:
        """Whether the topic is stored."""
        return self.domain == "persistent"

    @property
    def namespace_path(self) -> str:
        """`tenant/namespace`."""
        return f"{self.tenant}/{self.namespace}"

    @property
    def whole(self) -> TopicName:
        """The partitioned topic that this is a partition of, or the topic itself."""
        if self.partition < 0:
            return self
        local = self.local.rpartition("-partition-")[0]
        return TopicName(self.domain, self.tenant, self.namespace, local)

    def part(self, partition: int) -> TopicName:
        """The partition of that number, from 0 on."""
        local = f"{self.local}-partition-{partition}"
        return TopicName(self.domain, self.tenant, self.namespace, local, partition)


def parse_topic(text: str) -> TopicName:
    """Take a topic name apart; short forms mean `persistent://public/default/...`.

    Args:
        text: `topic`, `tenant/namespace/topic` or `domain://tenant/namespace/topic`.

    Raises:
        UsageError: It is none of these; the code is `bad-domain` for an unknown domain.
    """
    domain, colon, rest = text.partition("://")
    if not colon:
        domain, rest = "persistent", text
    if domain not in DOMAINS:
        raise UsageError(
            f"Topic {text!r} has the unknown domain {domain!r}.",
            hint="Use persistent:// or non-persistent://.",
            code="bad-domain",
        )
    parts = rest.split("/")
    if len(parts) == 1 and not colon:
        parts = ["public", "default", *parts]
    if len(parts) != 3:
        raise UsageError(f"{text!r} is not a topic name.", hint=_EXAMPLE)
    tenant, namespace, local = parts
    check_entity("tenant", tenant)
    check_entity("namespace", namespace)
    if not local.strip() or not local.isprintable() or len(text) > MAX_TOPIC_CHARS:
        raise UsageError(
            f"{text[:100]!r} is not a topic name: its last part is empty, too long or unprintable.",
            hint=_EXAMPLE,
        )
    found = _PARTITION.fullmatch(local)
    return TopicName(domain, tenant, namespace, local, int(found[2]) if found else -1)


def parse_namespace(text: str) -> tuple[str, str]:
    """Take `tenant/namespace` (or `namespace`, of tenant public) apart.

    Raises:
        UsageError: It is neither.
    """
    tenant, slash, namespace = text.rpartition("/")
    if not slash:
        tenant = "public"
    if "/" in tenant:
        raise UsageError(f"{text!r} is not a namespace.", hint="Write tenant/namespace.")
    return check_entity("tenant", tenant), check_entity("namespace", namespace)


def check_entity(what: str, name: str) -> str:
    """Return `name` when Pulsar takes it as a tenant or namespace (letters, digits, - = : . _).

    Raises:
        UsageError: It does not.
    """
    if not _ENTITY.fullmatch(name) or name in {".", ".."}:
        raise UsageError(
            f"{what} name {name[:100]!r} is not allowed.",
            hint="Use 1 to 255 of the characters A-Z a-z 0-9 - = : . _",
        )
    return name


def topic_name(template: str, room: str, kind: str) -> str:
    """Fill a template in: the topic that carries a kind of a room.

    Args:
        template: A topic name with the places `{room}` and `{kind}`, e.g. `DEFAULT_TEMPLATE`.
        room: Name of the room.
        kind: What the track carries.

    Raises:
        UsageError: The template has other places, or the result is not a topic name.
    """
    check_name("room", room)
    check_name("kind", kind)
    try:
        places = {place for _, place, *_ in string.Formatter().parse(template)} - {None}
        text = template.format(room=room, kind=kind) if places <= {"room", "kind"} else ""
    except (ValueError, IndexError, KeyError, AttributeError):
        text = ""
    if not text:
        raise UsageError(
            f"Topic template {template!r} has places other than {{room}} and {{kind}}.",
            hint=f"The default is {DEFAULT_TEMPLATE}",
        )
    return str(_yield(template, text))


def _yield(template: str, text: str) -> TopicName:
    """The topic that a filled template names.

    Raises:
        UsageError: It is none, or the name of a single partition.
    """
    fault, code, hint = "", "bad-topic", f"Mend topics.template, e.g. {DEFAULT_TEMPLATE}"
    try:
        name = parse_topic(text)
    except UsageError as error:
        fault, code = error.message, error.code if error.code != "usage" else code
    else:
        if name.partition < 0:
            return name
        fault = "Its end is that of a partition."
    raise UsageError(
        f"Topic template {template!r} yields {text[:200]!r}, which is no topic. {fault}",
        hint=hint,
        code=code,
    )


def room_namespace(template: str, room: str) -> str:
    """Return the namespace (`tenant/name`) that a room maps to under a template."""
    return parse_topic(topic_name(template, room, "video")).namespace_path
