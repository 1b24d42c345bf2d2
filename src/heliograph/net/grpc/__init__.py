"""gRPC over our HTTP/2: unary calls, a server and a client as asyncio protocols."""
