"""The contracts that every component keeps: ids, batches, configuration keys, lifecycle, errors."""
