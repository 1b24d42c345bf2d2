"""Heliograph: an OpenTelemetry Collector distribution in Python, for Kubernetes and Elastic."""

__version__ = "0.1.0"
