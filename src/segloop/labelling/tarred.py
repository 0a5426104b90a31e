"""Label maps as WebDataset shards: for each photo a PNG and a JSON of one name."""

import io
import json
import tarfile

from .maps import Maps
from .outcomes import IS_SHARD, TAR_MARK


def webdataset(maps: Maps) -> str:
    """Tar files whose keys are the photos' names; a dot in a file's name, where a key would end, becomes %2E."""
    files = maps.files()
    for number, parts in enumerate(files):
        name = f"webdataset/labels-{number:06d}.tar"
        with maps.place.writing(name, IS_SHARD) as stream, _begun(stream, maps.classes) as tar:
            for part in parts:
                for photo, one in maps.part(part):
                    said = {"photo": one.photo, "path": maps.path(photo), "size": one.size, "pixels": one.pixels}
                    key = key_of(one.photo)
                    _add(tar, f"{key}.json", json.dumps(said).encode())
                    _add(tar, f"{key}.png", maps.png(one))
    return "webdataset/"


def key_of(photo: str) -> str:
    """A photo's name as a key, which ends at the first dot of its last part."""
    folder, slash, name = photo.rpartition("/")
    return folder + slash + name.replace("%", "%25").replace(".", "%2E")


def _begun(stream, classes: list[str]) -> tarfile.TarFile:  # type: ignore[no-untyped-def]
    """A tar file that says in its first header what it is."""
    headers = {"comment": f"{TAR_MARK}{json.dumps(classes)}"}
    return tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A file without a time, an owner or anything else that differs from machine to machine."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
