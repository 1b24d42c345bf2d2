"""What changes telemetry on its way. One folder a type, its name upstream's."""
