"""From one read of a file to OTLP: framing, operators or the hot path, and records grouped by resource.

A read takes one block from the file's position, uses whole records only, and moves the position. What comes out
gathers in a `Gathered` (ResourceLogs parts, items, the files they came from) until the receiver takes it as a batch.
"""

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Any, cast

from heliograph.receivers.file_log import encode, lines
from heliograph.receivers.file_log.config import FileLogConfig
from heliograph.receivers.file_log.file import TAIL_BYTES, LogFile
from heliograph.receivers.file_log.frame import Framer
from heliograph.receivers.file_log.operators import Chain
from heliograph.receivers.file_log.operators.base import Logger, OperatorConfig
from heliograph.receivers.file_log.operators.container import Container, ContainerConfig, pod_of
from heliograph.receivers.file_log.operators.entry import Entry
from heliograph.receivers.file_log.template import Template

FAST_BLOCK = 256 * 1024
SLOW_BLOCK = 32 * 1024
_RESOURCES_KEPT = 1024


class Replaced(Exception):
    """The bytes before the position are not those that were read: the file was truncated and written anew."""


@dataclass(slots=True)
class Gathered:
    """Records waiting to become a batch."""

    parts: list[bytes]
    items: int
    size: int
    sources: set[LogFile]


class _View:
    """What the records of one file have in common."""

    def __init__(self, path: str, attributes: dict[str, Any], uid: str) -> None:
        self.path = path
        self.attributes = attributes
        self.uid = uid
        self.resource = b""
        self.plain: lines.Shape | None = None
        self.stdout: lines.Shape | None = None
        self.stderr: lines.Shape | None = None


class Reader:
    """Bound to one receiver."""

    def __init__(self, config: FileLogConfig, log: Logger) -> None:
        self._config = config
        self._log = log
        self.framer = Framer(config)
        self.chain = Chain(cast(list[OperatorConfig], list(config.operators)), self, log)
        self._attributes, self._attribute_templates = _templates(config.attributes)
        self._resource, self._resource_templates = _templates(config.resource)
        plain = not (
            self._attribute_templates
            or self._resource_templates
            or config.include_file_record_number
            or config.include_file_record_offset
        )
        fast = plain and self.framer.simple and config.max_log_size_behavior == "split"
        self._fast_plain = fast and not config.operators
        self._container = self._fast_container(config) if fast else None
        self._format = str(getattr(self._container.config, "format", "")) if self._container else ""
        self.block = FAST_BLOCK if self._fast_plain or self._container else SLOW_BLOCK
        self._seconds = lines.Seconds()
        self._groups: dict[bytes, list[bytes]] = {}
        self._items = 0
        self._sources: set[LogFile] = set()
        self._resources: dict[tuple[object, ...], bytes] = {}
        self._file: LogFile | None = None
        self._observed = 0

    def _fast_container(self, config: FileLogConfig) -> Container | None:
        if len(config.operators) != 1 or config.preserve_leading_whitespaces or config.preserve_trailing_whitespaces:
            return None
        only: Any = config.operators[0]
        if not isinstance(only, ContainerConfig) or only.condition or only.parse_from != "body":
            return None
        operator = self.chain.operators[0]
        return operator if isinstance(operator, Container) and only.format in ("", "containerd", "crio") else None

    def process(self, entry: Entry) -> None:
        """The sink at the end of the operators."""
        payload = self._resource_payload(entry.resource)
        group = self._groups.get(payload)
        if group is None:
            group = self._groups[payload] = []
        group.append(encode.record(entry))
        self._items += 1
        if isinstance(entry.source, LogFile):
            self._sources.add(entry.source)

    def _resource_payload(self, resource: dict[str, Any]) -> bytes:
        """The encoded resource. Those of texts only are remembered."""
        if not resource:
            return b""
        known_as = (*resource, *resource.values())
        if set(map(type, known_as)) != {str}:
            return encode.resource(resource)
        payload = self._resources.get(known_as)
        if payload is None:
            if len(self._resources) >= _RESOURCES_KEPT:
                self._resources.clear()
            payload = self._resources[known_as] = encode.resource(resource)
        return payload

    def take(self) -> Gathered:
        """What has gathered since the last call."""
        parts = [
            encode.resource_logs(payload, b"".join(records)) for payload, records in self._groups.items() if records
        ]
        gathered = Gathered(parts, self._items, sum(map(len, parts)), self._sources)
        self._groups, self._items, self._sources = {}, 0, set()
        return gathered

    def resume(self, file: LogFile) -> int:
        """The offset from which a file would have to be read if all that was handed on were safe."""
        offset = file.position
        for entry in self.chain.held():
            if entry.source is file and entry.start < offset:
                offset = entry.start
        return offset

    def read(self, file: LogFile, observed: int, final: bool = False) -> bool:
        """Take one block. final: what is left is a record, though its end is not there. True when something was used.

        Raises OSError, and Replaced when the file is not what it was.
        """
        tail = file.tail
        want = self.block
        while True:
            data = file.read(want + len(tail), file.position - len(tail))
            if not data.startswith(tail):
                if file.gzip is not None and not data:
                    return False
                raise Replaced(file.path)
            block = data[len(tail) :] if tail else data
            if not block:
                return False
            used = self._use(file, block, observed, final and len(block) < want)
            if used or len(block) < want or want > self.framer.longest:
                break
            want = min(want * 4, self.framer.longest + 1)
        if used:
            file.position += used
            file.tail = data[: used + len(tail)][-TAIL_BYTES:]
            self._sources.add(file)
        return used > 0

    def _use(self, file: LogFile, block: bytes, observed: int, final: bool) -> int:
        if self.framer.simple and not final and not file.discarding and len(block) <= self.framer.longest:
            if block.find(b"\n") < 0:
                return 0
            if not file.identity:
                file.fix_identity(file.read(int(self._config.fingerprint_size), 0))
            view = self._view(file)
            if view.plain is not None:
                return self._plain(file, block, view, observed)
            if view.stdout is not None:
                return self._cri(file, block, view, observed)
        records, used, file.discarding = self.framer.split(block, final, file.discarding)
        if records and not file.identity:
            file.fix_identity(file.read(int(self._config.fingerprint_size), 0))
        self._file, self._observed = file, observed
        for place, record in records:
            if record:
                self._entry(file, file.position + place, record)
            else:
                file.number += 1
        return used

    def _plain(self, file: LogFile, block: bytes, view: _View, observed: int) -> int:
        used = block.rfind(b"\n") + 1
        whole = block[: used - 1]
        assert view.plain is not None
        count = lines.plain_lines(
            whole.split(b"\n"),
            file.position,
            view.plain,
            observed,
            self._config.preserve_leading_whitespaces,
            self._config.preserve_trailing_whitespaces,
            lines.valid(whole),
            self._groups.setdefault(view.resource, []),
        )
        self._items += count
        file.number += count
        return used

    def _cri(self, file: LogFile, block: bytes, view: _View, observed: int) -> int:
        used = block.rfind(b"\n") + 1
        whole = block[: used - 1]
        assert view.stdout is not None
        assert view.stderr is not None
        out = self._groups.setdefault(view.resource, [])
        self._file, self._observed = file, observed
        count = lines.container_lines(
            whole.split(b"\n"),
            file.position,
            view.stdout,
            view.stderr,
            observed,
            self._seconds,
            lines.valid(whole),
            out,
            self._slow,
            self._holding(),
            self._format != "crio",
            self._format != "containerd",
        )
        self._items += count
        file.number += count
        return used

    def _holding(self) -> int:
        assert self._container is not None
        assert self._file is not None
        return self._container.holding(self._file.path)

    def _slow(self, line: bytes, offset: int) -> int:
        """One line by the ordinary way; of which streams the operator holds a record back."""
        assert self._file is not None
        text = self.framer.trim(line)
        if text:
            self._entry(self._file, offset, text)
        return self._holding()

    def _entry(self, file: LogFile, offset: int, record: bytes) -> None:
        view = self._view(file)
        framer = self.framer
        body: str | bytes
        if framer.encoding == "utf-8":
            try:
                body = record.decode()
            except UnicodeDecodeError:
                body = lines.replaced(record, "utf-8")
        elif framer.encoding == "nop":
            body = record
        else:
            body = framer.trim_text(lines.replaced(record, framer.encoding))
            if not body:
                return
        file.number += 1
        uid = f"{view.uid}{offset:012x}" if view.uid else ""
        entry = Entry(body, self._observed, file, offset, uid)
        entry.attributes = dict(view.attributes)
        if self._config.include_file_record_number:
            entry.attributes["log.file.record_number"] = file.number
        if self._config.include_file_record_offset:
            entry.attributes["log.file.record_offset"] = offset
        entry.resource = dict(self._resource)
        try:
            for name, template in self._attribute_templates.items():
                entry.attributes[name] = template.render(entry)
            for name, template in self._resource_templates.items():
                entry.resource[name] = template.render(entry)
        except ValueError as error:
            self._log.error("attributes or resource of %s: %s", file.path, error)
        self.chain.process(entry)

    def _view(self, file: LogFile) -> _View:
        view: _View | None = file.view
        if view is not None and view.path == file.path:
            return view
        uid = file.identity if self._config.record_uid else ""
        view = _View(file.path, self._file_attributes(file), uid)
        if self._fast_plain:
            view.plain = lines.Shape(encode.attributes(view.attributes), uid, False)
            view.resource = encode.resource(self._resource)
        elif self._container is not None:
            config = cast(ContainerConfig, self._container.config)
            pod = pod_of(file.path) if config.add_metadata_from_filepath else {}
            if pod is not None:
                view.resource = encode.resource({**self._resource, **pod})
                view.stdout = self._shape(view, "stdout", uid)
                view.stderr = self._shape(view, "stderr", uid)
        file.view = view
        return view

    def _shape(self, view: _View, stream: str, uid: str) -> lines.Shape:
        values = {**view.attributes, "log.iostream": stream, "logtag": "F"}
        return lines.Shape(encode.attributes(values), uid, True)

    def _file_attributes(self, file: LogFile) -> dict[str, Any]:
        config, path = self._config, file.path
        values: dict[str, Any] = dict(self._attributes)
        if config.include_file_name:
            values["log.file.name"] = os.path.basename(path)
        if config.include_file_path:
            values["log.file.path"] = path
        if config.include_file_name_resolved or config.include_file_path_resolved:
            resolved = os.path.realpath(path)
            if config.include_file_name_resolved:
                values["log.file.name_resolved"] = os.path.basename(resolved)
            if config.include_file_path_resolved:
                values["log.file.path_resolved"] = resolved
        if config.include_file_owner_name or config.include_file_owner_group_name or config.include_file_permissions:
            status = os.fstat(file.fd)
            if config.include_file_owner_name:
                values["log.file.owner.name"] = _owner(status.st_uid)
            if config.include_file_owner_group_name:
                values["log.file.owner.group.name"] = _group(status.st_gid)
            if config.include_file_permissions:
                values["log.file.permissions"] = f"{status.st_mode & 0o777:o}"
        return values


def _templates(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Template]]:
    constant: dict[str, Any] = {}
    computed: dict[str, Template] = {}
    for name, value in values.items():
        template = Template(value) if isinstance(value, str) else None
        if template is None or template.constant:
            constant[name] = value
        else:
            computed[name] = template
    return constant, computed


def _owner(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
