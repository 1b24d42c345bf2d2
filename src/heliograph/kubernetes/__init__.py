"""The Kubernetes API: list and watch without I/O, a thin driver, credentials, and watches that components share."""
