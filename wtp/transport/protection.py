"""Header protection of short packets, shortened; private names of aioquic as in ``hardening``."""

from __future__ import annotations

from aioquic._crypto import CryptoError, HeaderProtection


class QuickProtection(HeaderProtection):
    """AES header protection of short headers without copying the whole packet twice.

    Args:
        original: What it replaces; its keys stay the same for the whole connection
            (RFC 9001 section 6).
    """

    def __init__(self, original: HeaderProtection) -> None:
        self._is_chacha20 = False
        self._encryptor = original._encryptor

    def apply(self, plain_header: bytes, protected_payload: bytes) -> bytes:
        """Return the protected packet (RFC 9001 section 5.4.1)."""
        first = plain_header[0]
        size = (first & 3) + 1
        mask = self._encryptor.update(protected_payload[4 - size : 20 - size])
        number = int.from_bytes(plain_header[-size:], "big") ^ int.from_bytes(
            mask[1 : 1 + size], "big"
        )
        return b"".join(
            (
                (first ^ mask[0] & 0x1F).to_bytes(1, "big"),
                plain_header[1:-size],
                number.to_bytes(size, "big"),
                protected_payload,
            )
        )

    def remove(self, packet: bytes, pn_offset: int) -> tuple[bytes, int]:
        """Return the plain header and the truncated packet number."""
        sample = packet[pn_offset + 4 : pn_offset + 20]
        if len(sample) < 16:
            raise CryptoError("Packet is too short to sample")
        mask = self._encryptor.update(sample)
        first = packet[0] ^ mask[0] & 0x1F
        size = (first & 3) + 1
        end = pn_offset + size
        number = int.from_bytes(packet[pn_offset:end], "big") ^ int.from_bytes(
            mask[1 : 1 + size], "big"
        )
        header = first.to_bytes(1, "big") + packet[1:pn_offset] + number.to_bytes(size, "big")
        return header, number
