"""Compiles the hot modules with mypyc where that is possible; everything else is in pyproject.toml.

`pip install .` compiles HOT when a C compiler and Python's headers are at hand, else it installs plain Python: the
same program, only slower. `heliograph.otlp.compiled()` tells which it is.

    HELIOGRAPH_PURE=1 pip install .     plain Python whatever is at hand
    HELIOGRAPH_PURE=0 pip install .     compiled, or the installation fails

`pip install -e .` is always plain Python: an extension module beside a source file wins over it, so an edit would seem
to have no effect. To try compiled modules in a work tree, and to remove them again:

    python setup.py build_ext --inplace
    find src -name '*.so' -delete; rm -rf build
"""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.sysconfig import customize_compiler

HOT: tuple[str, ...] = (
    "src/heliograph/connectors/elasticapm/cells.py",
    "src/heliograph/connectors/elasticapm/histogram.py",
    "src/heliograph/connectors/elasticapm/spans.py",
    "src/heliograph/exporters/elasticsearch/attribute.py",
    "src/heliograph/exporters/elasticsearch/documents.py",
    "src/heliograph/exporters/elasticsearch/histogram.py",
    "src/heliograph/exporters/elasticsearch/json_text.py",
    "src/heliograph/exporters/elasticsearch/logs.py",
    "src/heliograph/exporters/elasticsearch/metrics.py",
    "src/heliograph/exporters/elasticsearch/origin.py",
    "src/heliograph/exporters/elasticsearch/points.py",
    "src/heliograph/exporters/elasticsearch/record.py",
    "src/heliograph/exporters/elasticsearch/route.py",
    "src/heliograph/exporters/elasticsearch/spans.py",
    "src/heliograph/exporters/elasticsearch/value.py",
    "src/heliograph/receivers/file_log/encode.py",
    "src/heliograph/receivers/file_log/lines.py",
    "src/heliograph/receivers/file_log/operators/entry.py",
    "src/heliograph/receivers/file_log/operators/layout.py",
    "src/heliograph/otlp/wire.py",
    "src/heliograph/otlp/schema.py",
    "src/heliograph/otlp/walk.py",
    "src/heliograph/otlp/count.py",
    "src/heliograph/otlp/request.py",
    "src/heliograph/otlp/resource.py",
    "src/heliograph/otlp/split.py",
    "src/heliograph/processors/elasticapm/log.py",
    "src/heliograph/processors/elasticapm/part.py",
    "src/heliograph/processors/elasticapm/span.py",
    "src/heliograph/net/http2/errors.py",
    "src/heliograph/net/http2/events.py",
    "src/heliograph/net/http2/frames.py",
    "src/heliograph/net/http2/settings.py",
    "src/heliograph/net/http2/stream.py",
    "src/heliograph/net/http2/limits.py",
    "src/heliograph/net/http2/outbox.py",
    "src/heliograph/net/http2/header_block.py",
    "src/heliograph/net/http2/connection.py",
)
"""Modules compiled together. They are fully typed, import no third-party package when loaded, and keep to what mypyc
takes: no nested functions or generators in what is hot, plain classes with __slots__."""

_COMMANDS = {"bdist", "bdist_wheel", "build", "build_ext", "install"}


def _extensions() -> list[Extension]:
    pure = os.environ.get("HELIOGRAPH_PURE", "")
    if pure not in ("", "0") or not _COMMANDS.intersection(sys.argv):
        return []
    try:
        _probe()
        from mypyc.build import mypycify

        # No configuration file: in an isolated build the third-party packages are not there to be looked into.
        options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
        return list(mypycify([*options, *HOT], opt_level="3", group_name="heliograph"))
    except (Exception, SystemExit) as error:
        if pure == "0":
            raise
        print(f"heliograph: not compiling, installing plain Python: {error}", file=sys.stderr)
        return []


def _probe() -> None:
    """Compile a file that includes Python.h. Raises when that does not work."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <Python.h>\nPyObject *heliograph_probe(void) { return Py_None; }\n")
        compiler = new_compiler()
        customize_compiler(compiler)
        compiler.compile([str(source)], output_dir=folder, include_dirs=[sysconfig.get_path("include")])


setup(ext_modules=_extensions())
