"""HTTP/1.1 in and out, on httptools' parser: one server for receivers, one client for exporters and scrapers."""
