"""A small instrumented shop: three services with the OpenTelemetry SDK for Python, real HTTP between them, a customer
who keeps ordering, and container logs in the form that a kubelet writes."""
