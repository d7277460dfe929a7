"""What a control group's path tells, and what a container's runtime tells of it."""

from __future__ import annotations

import json
import re

import pytest

from auditsvc.enrich.cgroups import Place, place_of
from auditsvc.enrich.containers import Known, look_up
from auditsvc.record.daemon import DaemonRecords

ID = "0123456789abcdef" * 4

PATHS = {
    "/": (None, None, None, None),
    "/init.scope": ("init.scope", None, None, None),
    "/system.slice/cron.service": ("cron.service", None, None, None),
    "/system.slice/system-getty.slice/getty@tty1.service": ("getty@tty1.service", *[None] * 3),
    r"/system.slice/a\x2db.service/sub": (r"a\x2db.service", None, None, None),
    "/user.slice/user-1000.slice/session-3.scope": ("session-3.scope", "3", None, None),
    "/user.slice/user-0.slice/user@0.service/app.slice/x.service": ("user@0.service", *[None] * 3),
    f"/system.slice/docker-{ID}.scope": (f"docker-{ID}.scope", None, ID, "docker"),
    f"/docker/{ID}": (None, None, ID, "docker"),
    f"/docker/{ID}/init.scope": ("init.scope", None, ID, "docker"),
    f"/docker/{ID[1:]}": (None, None, None, None),
    f"/docker/{ID}0": (None, None, None, None),
    f"/machine.slice/libpod-{ID}.scope/container": (f"libpod-{ID}.scope", None, ID, "podman"),
    f"/libpod_parent/libpod-{ID}": (None, None, ID, "podman"),
    f"/machine.slice/libpod-conmon-{ID}.scope": (f"libpod-conmon-{ID}.scope", None, None, None),
    f"/kubepods.slice/kubepods-besteffort.slice/cri-containerd-{ID}.scope": (
        f"cri-containerd-{ID}.scope", None, ID, "containerd",
    ),
    f"/kubepods/besteffort/pod2c48913c-b29f-11e7-9350-020968147796/{ID}": (
        None, None, ID, "containerd",
    ),
    f"/kubepods.slice/crio-{ID}.scope": (f"crio-{ID}.scope", None, ID, "cri-o"),
    f"/kubepods.slice/crio-conmon-{ID}.scope": (f"crio-conmon-{ID}.scope", None, None, None),
    "/lxc.payload.web": (None, None, "web", "lxc"),
    "/lxc/web/system.slice": (None, None, "web", "lxc"),
    "/machine.slice/systemd-nspawn@web.service": (
        "systemd-nspawn@web.service", None, "web", "nspawn",
    ),
    "/a b/evil\x1b[2J unit=x.service": (None, None, None, None),
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", ["0::{}\n", "3:cpu:/\n1:name=systemd:{}\n0::/\n"])
def test_what_a_path_tells(path, form):
    """Of cgroup v2 and of v1: unit, session, container and runtime."""
    assert place_of(form.format(path).encode()) == Place(path.encode(), *PATHS[path])


def test_a_container_in_another_hierarchy():
    """Docker without systemd on cgroup v1: the container is not in systemd's hierarchy."""
    text = f"4:memory:/docker/{ID}\n1:name=systemd:/\n0::/\n".encode()
    assert place_of(text) == Place(f"/docker/{ID}".encode(), None, None, ID, "docker")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"", None),
        (b"nonsense", None),
        (b"0::/a.service (deleted)\n", Place(b"/a.service", "a.service")),
        (b"0::/a:b.service\n", Place(b"/a:b.service", "a:b.service")),
        (b"5:memory:/other\n", Place(b"/")),
        (b"0::/\xff\xfe\n", Place(b"/\xff\xfe")),
    ],
)
def test_odd_texts(text, place):
    """What cannot be read tells nothing, and a group that was removed counts as it was."""
    assert place_of(text) == place


FILES = {
    "docker": (f"var/lib/docker/containers/{ID}/config.v2.json",
               {"Name": "/web", "Config": {"Image": "nginx:1.25"}}),
    "podman": ("var/lib/containers/storage/overlay-containers/containers.json",
               [{"id": "other"}, {"id": ID, "names": ["web"],
                 "metadata": json.dumps({"image-name": "nginx:1.25"})}]),
    "containerd": (f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json",
                   {"annotations": {"io.kubernetes.cri.container-name": "web",
                                    "io.kubernetes.cri.image-name": "nginx:1.25"}}),
    "cri-o": (f"run/containers/storage/overlay-containers/{ID}/userdata/config.json",
              {"annotations": {"io.kubernetes.container.name": "web",
                               "io.kubernetes.cri-o.ImageName": "nginx:1.25"}}),
}  # fmt: skip


@pytest.mark.parametrize("runtime", FILES)
def test_a_runtime_tells_name_and_image(runtime, tmp_path):
    """From the file that it keeps on the host."""
    path, told = FILES[runtime]
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(told))
    assert look_up(ID, runtime, tmp_path) == Known("web", "nginx:1.25")


@pytest.mark.parametrize("runtime", FILES)
@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "null", "7", '"x"', '[{"id": null}]', "[" * 100_000,
     '{"Name": 7, "Config": []}', '{"annotations": null}', '[{"id": "' + ID + '", "names": []}]'],
)  # fmt: skip
def test_a_file_that_tells_nothing(runtime, text, tmp_path):
    """It is no error: the container is known by its id."""
    assert look_up(ID, runtime, tmp_path) == Known()
    file = tmp_path / FILES[runtime][0]
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert look_up(ID, runtime, tmp_path) == Known()


def test_a_container_whose_id_is_its_name(tmp_path):
    """Of lxc and systemd-nspawn."""
    assert look_up("web", "lxc", tmp_path) == Known("web")


def test_a_hostile_name_stays_one_field(tmp_path):
    """In the record too; what is no image's name is left out."""
    path, _ = FILES["docker"]
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    evil = 'x" op=name kind=user id=0\n\x1b\ud800'
    file.write_text(json.dumps({"Name": f"/{evil}", "Config": {"Image": "a b=c"}}))
    found = look_up(ID, "docker", tmp_path)
    assert found == Known(evil)
    line = DaemonRecords().cgroup(1, b'/a b"\n', {"name": found.name, "unit": None}).decode()
    hex_name, hex_path = (
        evil.encode(errors="backslashreplace").hex().upper(),
        b'/a b"\n'.hex().upper(),
    )
    assert re.search(f" op=cgroup cgroup={hex_path} name={hex_name} auid=", line)
    assert line.count("\n") == 1
