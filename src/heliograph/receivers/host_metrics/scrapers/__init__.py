"""One module for each part of the host; each reads files and yields data points, and knows nothing of OTLP."""
