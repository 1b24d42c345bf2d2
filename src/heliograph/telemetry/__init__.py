"""What the collector says of itself: log, metrics, the ledger of items."""
