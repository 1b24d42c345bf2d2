"""Between a pipeline and an exporter: queue, batching, retry, and what became of each item."""
