"""Names of container images: repository, tag and digest.

Source: the grammar of github.com/distribution/reference, which upstream uses.
"""

import re
from dataclasses import dataclass

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_NAME = rf"(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*"
_REFERENCE = re.compile(
    rf"({_NAME})(?::([\w][\w.-]{{0,127}}))?(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{{32,}}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Image:
    """The parts; tag and digest are "" when they are not there."""

    repository: str
    tag: str
    digest: str

    @property
    def version(self) -> str:
        """What service.version is by the rules of semantic conventions: tag, digest, or both."""
        return f"{self.tag}@{self.digest}" if self.tag and self.digest else self.tag or self.digest


def parse(image: str) -> Image | None:
    """The parts of an image's name, None when it is none."""
    found = _REFERENCE.fullmatch(image)
    return Image(found[1], found[2] or "", found[3] or "") if found else None


def canonical(image_id: str) -> str:
    """The image's full name with its digest, as container.image.repo_digests has it; "" when there is none."""
    found = parse(image_id)
    if found is None or not found.digest:
        return ""
    domain, slash, path = found.repository.partition("/")
    if not slash or not ("." in domain or ":" in domain or domain == "localhost" or domain.lower() != domain):
        domain, path = "docker.io", found.repository
    if domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return f"{domain}/{path}{':' + found.tag if found.tag else ''}@{found.digest}"
