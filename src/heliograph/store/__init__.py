"""The embedded document store: the Elasticsearch calls that an exporter and a person make, on local disk.

For a laptop, a demo, a test. Documents are kept as they came, in SQLite; a search reads them newest first and looks
into each. It answers like Elasticsearch to what it knows and with Elasticsearch's own errors to what it does not.
"""
