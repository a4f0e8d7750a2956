"""Which mailbox goes where."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroom.copying.account import Folder
from postroom.copying.folders import map_folders, special_uses
from postroom.model.mailbox import SpecialUse


def folder(name: str, use: SpecialUse | None = None, separator: str = "/") -> Folder:
    return Folder(name, tuple(name.split(separator)), use)


OURS = [
    folder("INBOX"),
    folder("Sent", SpecialUse.SENT),
    folder("Trash", SpecialUse.TRASH),
    folder("Junk", SpecialUse.JUNK),
]


def targets(source: list[Folder], target: list[Folder], separator: str = "/") -> dict[str, tuple[str, bool]]:
    return {left.name: (right.name, exists) for left, right, exists in map_folders(source, target, separator)}


def test_by_attribute_by_convention_by_path() -> None:
    source = [
        folder("INBOX"),
        folder("Gesendet", SpecialUse.SENT),
        folder("Deleted Items"),
        folder("INBOX.Spam", separator="."),
        folder("Work.2024/Q1", separator="."),
    ]
    assert targets(source, OURS) == {
        "INBOX": ("INBOX", True),
        "Gesendet": ("Sent", True),
        "Deleted Items": ("Trash", True),
        "INBOX.Spam": ("Junk", True),
        "Work.2024/Q1": ("Work/2024_Q1", False),
    }


def test_two_mailboxes_of_one_use_stay_two() -> None:
    source = [folder("Sent"), folder("Sent Items"), folder("Sent Messages", SpecialUse.SENT)]
    assert targets(source, OURS) == {
        "Sent": ("Sent 2", False),
        "Sent Items": ("Sent Items", False),
        "Sent Messages": ("Sent", True),
    }


def test_an_attribute_counts_more_than_a_name() -> None:
    uses = special_uses([folder("Sent"), folder("Out", SpecialUse.SENT), folder("a/Trash")])
    assert uses == {SpecialUse.SENT: folder("Out", SpecialUse.SENT)}


def test_a_target_without_hierarchy() -> None:
    assert targets([folder("a/b"), folder("a.b", separator="/")], [folder("INBOX")], "") == {
        "a/b": ("a.b", False),
        "a.b": ("a.b 2", False),
    }


def test_a_new_special_mailbox_keeps_its_use() -> None:
    made = map_folders([folder("Vault", SpecialUse.ARCHIVE)], OURS, "/")[0]
    assert made == (folder("Vault", SpecialUse.ARCHIVE), folder("Vault", SpecialUse.ARCHIVE), False)


_PARTS = st.lists(
    st.sampled_from(["INBOX", "Sent", "sent items", "a", "b", "a/b", "a.b", "Trash"]), min_size=1, max_size=3
)
_FOLDERS = st.lists(
    st.builds(
        lambda path, use: Folder("\0".join(path), tuple(path), use),
        _PARTS,
        st.none() | st.sampled_from(SpecialUse),
    ),
    max_size=8,
    unique_by=lambda each: each.name,
)


@given(_FOLDERS, _FOLDERS, st.sampled_from(["/", ".", ""]))
def test_nothing_is_left_out_and_no_two_meet(
    source: list[Folder], target: list[Folder], separator: str
) -> None:
    pairs = map_folders(source, target, separator)
    assert [left for left, _, _ in pairs] == source
    names = [right.name for _, right, _ in pairs]
    assert len(set(names)) == len(names)
    present = {each.name for each in target}
    assert all((right.name in present) == exists for _, right, exists in pairs)
