"""Sockets and what is spoken on them: HTTP/1.1, HTTP/2, gRPC, TLS, compression."""
