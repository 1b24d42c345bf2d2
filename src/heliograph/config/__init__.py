"""From YAML to the components' typed configuration, with the place of every value."""
