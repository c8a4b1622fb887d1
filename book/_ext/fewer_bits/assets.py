"""Where a page finds a file of `book/assets`."""

import zlib
from pathlib import Path

from sphinx.environment import BuildEnvironment

ASSETS = "book/assets"


def asset_address(env: BuildEnvironment, name: str) -> str:
    """Return the address of an asset from the page being read, with its checksum."""
    content = (Path(env.srcdir) / ASSETS / name).read_bytes()
    up = "../" * env.docname.count("/")
    return f"{up}_static/{name}?v={zlib.crc32(content):08x}"
