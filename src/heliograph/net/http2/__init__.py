"""HTTP/2 (RFC 9113) and HPACK (RFC 7541) without I/O: bytes in, events out; calls in, bytes out.

`frames` packs frames, `header_block` reads and writes header blocks, `settings` reads SETTINGS, `connection` is the
state machine of one connection for either side, `events` is what it reports. The asyncio drivers stand in net/grpc.
"""
