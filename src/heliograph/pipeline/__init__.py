"""From the configuration's pipelines to components that feed one another."""
