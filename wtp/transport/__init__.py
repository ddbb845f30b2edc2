"""WebTransport over HTTP/3; the only place that imports aioquic.

``certs``, ``server.serve``, ``client.connect`` and ``session`` are for the rest of the project.
"""
