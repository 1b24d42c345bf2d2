"""The same configuration through the upstream Collector's print-config and through us."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from heliograph.config.load import read

pytestmark = pytest.mark.peer

FOUND = (
    *("0b11", "0o17", "0X1F", "-0x1f", ".5", "1_0.5", "1:30", "y", "on", "NO", "yes", "true", "~", "null", "", "0123"),
    *("2024-01-01", "2024-1-1", "2024-01-01 10:00:00", "2024-01-01T10:00:00.5+02:00", "!!str 5", "!!int 5", "00", "+5"),
    *('"q"', "'q'", "- x", "&a x", "99999999999999999999", "0x", "0_1", "_1", "1__0", "1e400", "nan", "=", "<<", "@x"),
    *("# c", " 5 ", "a # b", "[a", "a: b", "{a: b}", "[${env:Q},2]", "$${env:Q}", "${env:Q}", "a::b: c", "1.2.3"),
)
TEXTS = (
    *("x-${env:Q}-y", "$Q", "$$", "$$$", "$${env:Q}", "$$${env:Q}", "$$$${env:Q}", "$ and ${env:Q and ${Q}"),
    *("a}b${env:Q}", "${env:U:-d}", "${env:U:-a:b:-c}", "${env:U:-${env:Q}x}", "<${env:U}>", "${env:${env:N}}x"),
)


def printed(lab: Path, *arguments: str, **environ: str) -> Any:
    """What the peer makes of it; scalars as text."""
    command = [str(lab / "collector" / "collector"), "print-config", "--mode=unredacted", *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return yaml.load(done.stdout, Loader=yaml.BaseLoader)


def as_text(value: Any) -> Any:
    """Scalars as the peer prints them."""
    if isinstance(value, dict):
        return {name: as_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(int(value)) if isinstance(value, float) and value == int(value) and value < 1e15 else str(value)


def test_expansion_gives_what_upstream_gives(lab: Path, tmp_path: Path) -> None:
    """Some sixty values of variables and texts with references, in an untyped field."""
    values = [f"${{env:V{index}}}" for index in range(len(FOUND))] + list(TEXTS)
    actions = [{"key": f"k{index}", "action": "insert", "value": value} for index, value in enumerate(values)]
    config = {
        "receivers": {"nop": None},
        "exporters": {"nop": None},
        "processors": {"attributes": {"actions": actions}},
        "service": {"pipelines": {"logs": {"receivers": ["nop"], "processors": ["attributes"], "exporters": ["nop"]}}},
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    environ = {"Q": "07x", "N": "Q", **{f"V{index}": value for index, value in enumerate(FOUND)}}
    theirs = printed(lab, f"--config={path}", **environ)["processors"]["attributes"]["actions"]
    ours = read([str(path)], [], environ).root.plain()["processors"]["attributes"]["actions"]
    different = {
        value: (as_text(our["value"]), their["value"])
        for value, our, their in zip((*FOUND, *TEXTS), ours, theirs, strict=True)
        if as_text(our["value"]) != their["value"]
    }
    assert different == {}


def test_merge_and_set_give_what_upstream_gives(lab: Path, tmp_path: Path) -> None:
    """Maps deep, lists replaced, null resets, :: in keys, --set last."""
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text(
        "receivers: {nop: , nop/2: }\nexporters: {nop: , debug: {sampling_initial: 7, sampling_thereafter: 8}}\n"
        "processors:\n  attributes: {actions: [{key: a, action: delete}, {key: b, action: delete}]}\n"
        "  batch: {timeout: 7s}\n"
        "service: {pipelines: {logs: {receivers: [nop, nop/2], exporters: [nop]}}}\n"
    )
    second.write_text(
        "exporters::debug::sampling_initial: 9\n"
        "processors::attributes::actions: [{key: c, action: delete}]\n"
        "service: {pipelines: {logs: {receivers: [nop/2], exporters: [debug]}}}\n"
    )
    arguments = [f"--config={first}", f"--config={second}", "--config=yaml:processors::batch: null"]
    sets = ["exporters.debug.sampling_thereafter=3", "service::pipelines::logs::processors=[attributes]"]
    theirs = printed(lab, *arguments, *(f"--set={text}" for text in sets))
    ours = read([argument.removeprefix("--config=") for argument in arguments], sets, {}).root.plain()
    for section in ("sampling_initial", "sampling_thereafter"):
        assert as_text(ours["exporters"]["debug"][section]) == theirs["exporters"]["debug"][section]
    assert ours["service"]["pipelines"] == theirs["service"]["pipelines"]
    keys = [action["key"] for action in theirs["processors"]["attributes"]["actions"]]
    assert [action["key"] for action in ours["processors"]["attributes"]["actions"]] == keys
    assert (ours["processors"]["batch"], theirs["processors"]["batch"]["timeout"]) == (None, "200ms")
