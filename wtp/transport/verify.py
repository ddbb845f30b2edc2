"""Whether the installed aioquic is one whose private names are those used here.

They are used in ``hardening``, ``fastpath``, ``fastread``, ``lean``, ``protection``, ``congestion``
and ``http3``, and nowhere else; it is pinned to 1.7.
"""

from __future__ import annotations

import functools

from aioquic._crypto import HeaderProtection
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.stream import QuicStream

from wtp.errors import WtpError
from wtp.transport.fastpath import FAST_NAMES

_CONNECTION_NAMES = """
_close_event _configuration _cryptos _crypto_buffers _datagrams_pending _events _flush_builder
_handle_reset_stream_frame _handshake_complete _handshake_confirmed _host_cids
_local_max_data _local_max_stream_data_uni _local_max_streams_uni _local_max_streams_bidi
_local_next_stream_id_uni _logger _loss _max_datagram_size _network_paths
_on_connection_limit_delivery _on_max_stream_data_delivery _packet_number _peer_cid
_peer_cid_available _QuicConnection__frame_handlers _remote_max_datagram_frame_size
_remote_max_streams_uni _replenish_connection_ids _serialize_transport_parameters _spin_bit
_state _streams _version _write_connection_limits _write_stream_limits
"""
_LOSS_NAMES = """
_cc _pacer _pto_count _rtt_min _rtt_smoothed _on_packets_lost spaces
_time_of_last_sent_ack_eliciting_packet peer_completed_address_validation
"""
_STREAM_NAMES = "_buffer _buffer_start _buffer_stop _reset_error_code"
_PROTECTION_NAMES = "_encryptor _is_chacha20"
_HTTP_NAMES = """
_check_control_frame_type _check_request_or_push_frame_type _decoder _get_local_settings
_max_table_capacity _blocked_streams _peer_control_stream_id _stream _validate_settings
"""


@functools.cache
def verify_aioquic() -> None:
    """Check that the installed aioquic has every private name used here.

    Raises:
        WtpError: It lacks some; the message names them.
    """
    connection = QuicConnection(configuration=QuicConfiguration(is_client=True))
    stream = QuicStream(stream_id=0)
    looked_up: list[tuple[str, object, str]] = [
        ("QuicConnection", connection, _CONNECTION_NAMES + FAST_NAMES),
        ("QuicPacketRecovery", connection._loss, _LOSS_NAMES),
        ("QuicPacketPacer", connection._loss._pacer, "_max_datagram_size"),
        ("congestion control", connection._loss._cc, "_max_datagram_size _congestion_stash"),
        ("QuicStreamSender", stream.sender, _STREAM_NAMES),
        ("QuicStreamReceiver", stream.receiver, "_buffer _buffer_start _final_size"),
        ("HeaderProtection", HeaderProtection(b"aes-128-ecb", bytes(16)), _PROTECTION_NAMES),
        ("H3Connection", H3Connection(connection), _HTTP_NAMES),
    ]
    missing = [
        f"{owner}.{name}"
        for owner, value, names in looked_up
        for name in names.split()
        if not hasattr(value, name)
    ]
    if missing:
        raise WtpError(
            f"The installed aioquic does not fit: it lacks {', '.join(missing)}.",
            hint="Install the tested version with `pip install 'aioquic>=1.7.2,<1.8'`.",
            code="aioquic-version",
        )
