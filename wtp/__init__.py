"""wtp: live media and messages over WebTransport into Apache Pulsar topics.

An `object` is one encoded unit: a picture, a sound packet, a chat line, a chunk of a file.
A `track` is a sequence of objects that one publisher sends: `<room>/<publisher>/<name>`.
A `room` is the group of tracks that belong together; in Pulsar it is a namespace.
The `router` takes WebTransport sessions and forwards their objects; it never looks inside one.
The `broker` is Apache Pulsar, or the embedded one that speaks the same protocol.
"""

__version__ = "0.1.0"
