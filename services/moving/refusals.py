"""Why a move is not made: each in one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from shared.postgres_folder import StartError
from shared.rules import Text


class Refused(StartError):
    """The move is not made; nothing of the source was changed."""


def _refused(zh: str, en: str) -> Refused:
    return Refused(Text(zh, en))


# ── what the sides are ───────────────────────────────────────────────────────────────────────────


def no_sides() -> Refused:
    return _refused(
        "请用 --from 或 --to 指明另一方：数据目录，或写有设置的文件",
        "name the other side by --from or --to: a data folder, or a file of settings",
    )


def says_too_little(place: Path) -> Refused:
    return _refused(
        f"{place} 既未写明 KECHUANG_DATA，也未写明各服务的数据库：请补全",
        f"{place} names neither KECHUANG_DATA nor the services' databases: complete it",
    )


def nothing_there(place: Path) -> Refused:
    return _refused(
        f"{place} 中没有已运行过的系统：请指明来源", f"{place} holds no installation: name the one to move"
    )


def not_reached(side: str, name: str, error: Exception) -> Refused:
    return _refused(
        f"不能连接 {side} 的 {name} 数据库（{error}）：请检查其地址、口令，并确认数据库已启动",
        f"cannot reach {name}'s database of {side} ({error}): mend its address or password, or start it",
    )


def no_bus(side: str, error: Exception) -> Refused:
    return _refused(
        f"不能连接 {side} 的消息日志（{error}）：请检查 KECHUANG_BUS 及 Kafka 的设置",
        f"cannot reach the log of {side} ({error}): check KECHUANG_BUS and the settings of Kafka",
    )


def running(side: str, name: str) -> Refused:
    return _refused(
        f"{side} 的 {name} 正在运行：请先停止该系统的所有服务和工具，再重发本命令",
        f"{name} of {side} is running: stop all services and tools of that installation, then repeat",
    )


def busy(name: str) -> Refused:
    return _refused(
        f"{name} 的数据库正被使用：请先停止两边的所有服务和工具，再重发本命令",
        f"{name}'s database is in use: stop all services and tools of both sides, then repeat",
    )


# ── the secret ───────────────────────────────────────────────────────────────────────────────────


def no_secret(target: str, where: str) -> Refused:
    return _refused(
        f"{target} 没有 KECHUANG_SECRET：请写入来源系统的密钥（{where}），再重发本命令",
        f"{target} has no KECHUANG_SECRET: set that of the installation that is moved ({where}), then repeat",
    )


def other_secret(target: str, where: str) -> Refused:
    return _refused(
        f"{target} 的 KECHUANG_SECRET 不是来源系统的，打不开签名密钥：请改为来源系统的（{where}）再重发",
        f"the KECHUANG_SECRET of {target} is not that of the installation that is moved and does not open "
        f"its signing keys: set that one ({where}), then repeat",
    )


# ── the databases ────────────────────────────────────────────────────────────────────────────────


def older(side: str, name: str) -> Refused:
    return _refused(
        f"{side} 的 {name} 数据库不是最新结构：请先对它执行 python -m services migrate",
        f"{name}'s database of {side} is not at the newest schema: first run "
        "python -m services migrate on it",
    )


def other_shape(name: str) -> Refused:
    return _refused(
        f"{name} 的数据库在两边的表不同：目标须为空库，由本命令建表",
        f"the tables of {name} differ between the sides: give the target an empty database, this command "
        "makes its tables",
    )


def not_empty(name: str, filled: Iterable[str]) -> Refused:
    which = ", ".join(sorted(filled))
    return _refused(
        f"目标的 {name} 数据库已有数据（{which}）：请换用空库（删除后重建），再重发本命令",
        f"{name}'s database of the target has data already ({which}): give it an empty one "
        "(drop it and make it anew), then repeat",
    )


def differs(name: str, what: Iterable[str]) -> Refused:
    which = ", ".join(sorted(what))
    return _refused(
        f"迁移后 {name} 与来源不一致（{which}）：目标未提交，来源未作更改",
        f"{name} does not equal the source after the move ({which}): nothing was committed, the source is "
        "unchanged",
    )


# ── the log ──────────────────────────────────────────────────────────────────────────────────────


def other_log() -> Refused:
    return _refused(
        "目标的消息日志中有别的系统的记录：请清空其主题（删除后由本命令重建），再重发本命令",
        "the log of the target has records that are not of this installation: delete its topics (this "
        "command makes them anew), then repeat",
    )


def holes(topic: str, published: int, found: int) -> Refused:
    return _refused(
        f"来源的消息日志不全：{topic} 已发布 {published} 条，日志中有 {found} 条；请检查来源的 KECHUANG_BUS",
        f"the log of the source is not whole: {published} records of {topic} were published and {found} are "
        "there; check KECHUANG_BUS of the source",
    )


def interrupted(error: BaseException) -> Refused:
    return _refused(
        f"迁移中断（{error!r}）：来源未作更改；请排除原因后重发本命令",
        f"the move was interrupted ({error!r}): the source is unchanged; mend the cause and repeat",
    )
