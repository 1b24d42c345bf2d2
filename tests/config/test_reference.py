"""The reference of components: complete texts, up to date."""

from pathlib import Path

import pytest

from heliograph import catalog
from heliograph.component.ids import Kind
from heliograph.config.reference import main, pages, undocumented

FOLDER = Path(__file__).parents[2] / "docs" / "components"


@pytest.mark.parametrize(("kind", "type_"), [(kind, type_) for kind in Kind for type_ in catalog.types(kind)], ids=str)
def test_every_key_has_a_text(kind: Kind, type_: str) -> None:
    """No key of any component is without one."""
    assert undocumented(catalog.factory(kind, type_).config) == []


def test_the_reference_is_up_to_date() -> None:
    """docs/components holds what the classes say now."""
    assert main([str(FOLDER), "--check"]) == 0


def test_the_check_fails_for_a_stale_and_for_a_left_over_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written: fine. One page changed, one too many: told by name."""
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    (tmp_path / "exporter-debug.md").write_text("old")
    (tmp_path / "exporter-gone.md").write_text("old")
    assert main([str(tmp_path), "--check"]) == 1
    told = capsys.readouterr().err
    assert "exporter-debug.md is not up to date" in told
    assert "exporter-gone.md is not up to date" in told


def test_a_page_shows_keys_defaults_and_what_is_refused() -> None:
    """Nested keys with ::, durations as one writes them, refused keys with what to do instead."""
    page = pages()["exporter-otlp_grpc.md"]
    assert "| `sending_queue::num_consumers` | int | `10` |" in page
    assert "| `retry_on_failure::initial_interval` | duration | `5s` |" in page
    assert "Deprecated names: `otlp`." in page
    assert "`read_buffer_size`" in page.partition("## Refused")[2]
