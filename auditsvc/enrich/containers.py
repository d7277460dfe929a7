"""Reads a container's name and image from the files that its runtime keeps on this host.

    docker      ROOT/var/lib/docker/containers/ID/config.v2.json: Name, Config.Image
    podman      ROOT/var/lib/containers/storage/overlay-containers/containers.json: names,
                metadata's image-name
    containerd  ROOT/run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json, and
    cri-o       ROOT/run/containers/storage/overlay-containers/ID/userdata/config.json:
                annotations

Who makes a container chooses what stands there: a name is any text, and an image that is not
written as an image is (distribution's reference.go) is left out. Files are read up to MOST bytes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MOST: Final = 4 << 20
_MOST_NAME: Final = 255
_IMAGE: Final = re.compile(r"[A-Za-z0-9._/:@+-]{1,512}")
_ROOT: Final = Path("/")


class Known(NamedTuple):
    """What the runtime tells of a container."""

    name: str | None = None
    image: str | None = None


def look_up(container: str, runtime: str, root: Path = _ROOT) -> Known:
    """Give a container's name and image; without them if the runtime's files do not tell."""
    if runtime not in _FILES:
        return Known(container) if runtime in _NAMED_BY_ID else Known()
    path, read = _FILES[runtime]
    try:
        with (root / path.format(container)).open("rb") as file:
            found = read(json.loads(file.read(MOST)), container)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Known()
    name, image = (value if isinstance(value, str) and value else None for value in found)
    return Known(
        name[:_MOST_NAME] if name else None,
        image if image and _IMAGE.fullmatch(image) else None,
    )


def _docker(told: Any, _container: str) -> tuple[Any, Any]:
    return told["Name"].removeprefix("/"), told["Config"]["Image"]


def _podman(told: Any, container: str) -> tuple[Any, Any]:
    own = next(each for each in [*told, {}] if not each or each["id"] == container)
    return own["names"][0], json.loads(own["metadata"]).get("image-name")


def _containerd(told: Any, _container: str) -> tuple[Any, Any]:
    notes = told["annotations"]
    kind = "io.kubernetes.cri."
    return notes.get(kind + "container-name"), notes.get(kind + "image-name")


def _crio(told: Any, _container: str) -> tuple[Any, Any]:
    notes = told["annotations"]
    return notes.get("io.kubernetes.container.name"), notes.get("io.kubernetes.cri-o.ImageName")


_NAMED_BY_ID: Final = ("lxc", "nspawn")
_FILES: Final[dict[str, tuple[str, Callable[[Any, str], tuple[Any, Any]]]]] = {
    "docker": ("var/lib/docker/containers/{}/config.v2.json", _docker),
    "podman": ("var/lib/containers/storage/overlay-containers/containers.json", _podman),
    "containerd": (
        "run/containerd/io.containerd.runtime.v2.task/k8s.io/{}/config.json",
        _containerd,
    ),
    "cri-o": ("run/containers/storage/overlay-containers/{}/userdata/config.json", _crio),
}
