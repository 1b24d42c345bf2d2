"""HTTP in and out, on aiohttp: one server for receivers, one client for exporters and scrapers."""
