"""A list file opened: what it really is, whatever its name says (R-06).

A file that is not what it says is refused as a whole, with what to do; a row that cannot be read is told
with the row, and the others go on.
"""

from __future__ import annotations

from services.roster.sheet import Sheet
from services.roster.text_sheet import from_text
from services.roster.workbook import FileRefused, damaged
from services.roster.workbook_sheet import from_workbook

OLE = bytes.fromhex("d0cf11e0a1b11ae1")


def open_sheet(content: bytes) -> Sheet:
    """The list in a file. Raises FileRefused."""
    if not content.strip():
        raise FileRefused("文件是空的：请选择名单文件后上传", "the file is empty: choose the list's file")
    if content.startswith(OLE):
        raise _ole(content)
    if content.startswith(b"PK\x03\x04"):
        return from_workbook(content)
    if content.startswith((b"PK\x05\x06", b"PK\x07\x08")):
        raise damaged()
    return from_text(content)


def _ole(content: bytes) -> FileRefused:
    if "EncryptedPackage".encode("utf-16-le") in content:
        return FileRefused(
            "文件设有打开密码：请在 Excel 中取消密码后上传",
            "the file opens with a password: remove it in Excel and upload again",
        )
    return FileRefused(
        "这是旧版 .xls 文件（扩展名可能已被改成 .xlsx）：请用 Excel 另存为 .xlsx 后上传",
        "this is an old .xls file (perhaps renamed): save it as .xlsx in Excel and upload that",
    )
