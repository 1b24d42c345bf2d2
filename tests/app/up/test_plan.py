"""Command lines that `up` refuses before it starts anything."""

import argparse
from pathlib import Path

import pytest

from heliograph.app.up.command import add_arguments
from heliograph.app.up.plan import plan
from heliograph.component.errors import StartError


def test_an_api_key_without_elasticsearch_is_refused(tmp_path: Path) -> None:
    """It would have no effect: whoever gives it means another Elasticsearch than the store."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(StartError, match="--api-key is for --elasticsearch"):
        plan(parser.parse_args(["--directory", str(tmp_path), "--api-key", "a2V5"]))
