"""Names of files: dates are filled in by the server too, and what no file system should see is refused before sampling."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest

from desks import Desk

NOW = datetime(2026, 3, 4, 5, 6, 7)
DATES = {
    "%date:yyyy-MM-dd%/image": "2026-03-04/image",
    "a_%date:yyMMdd_hhmmss%_%date:d.M%": "a_260304_050607_4.3",
    "%date:h-m-s%": "5-6-7",
    "plain %year% 100%": "plain %year% 100%",
    "cats\\%date:yyyy%\\a cat.": "cats/2026/a cat.",
    "console/com10/a. b": "console/com10/a. b",
}
REFUSED = {
    "%date:hh:mm%/image": "must not contain :",
    'a<b>"|?*': 'must not contain < > " | ? \\*',
    "%Empty Latent Image.width%": "names no node and widget",
    "con/image": "must not name 'con', a device on Windows",
    "NUL.of.science": "must not name 'NUL.of.science', a device",
    "a cat./image": "must name no folder that ends in a dot or space",
    "a cat /image": "must name no folder that ends in a dot or space",
    "cats\\...\\image": "must contain no name of dots and spaces alone",
    "cats/. .": "must contain no name of dots and spaces alone",
    "../image": "must ",
}


@pytest.mark.parametrize("pattern", DATES)
def test_the_server_fills_in_dates(pack: Callable[[str], ModuleType], pattern: str) -> None:
    assert pack("nodes.file_names").filled("name", pattern, NOW) == DATES[pattern]


def test_a_number_makes_another_name_of_a_device(pack: Callable[[str], ModuleType]) -> None:
    """A picture is ``con_00001_.png``, but a calibration ``con.safetensors``."""
    folders = pack("nodes.folders")
    assert folders.check_prefix("cats\\Lpt³") == "cats/Lpt³"
    with pytest.raises(ValueError, match="name must not name 'con', a device on Windows"):
        folders.running("con")


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_windows_forbids(pack: Callable[[str], ModuleType], name: str) -> None:
    folders = pack("nodes.folders")
    with pytest.raises(ValueError, match=f"filename_prefix .*{REFUSED[name]}"):
        folders.check_prefix(name)
    with pytest.raises(ValueError, match=f"name .*{REFUSED[name]}"):
        folders.running(name)
    for kind in ("choosing.save_image.UncertaintySaveImage", "looking.map_files.UncertaintyMapSave"):
        module, _, node = kind.rpartition(".")
        assert REFUSED[name].replace("\\", "") in getattr(pack(f"nodes.{module}"), node).validate_inputs(filename_prefix=name)


@pytest.mark.parametrize("name", [".", "cats/.", "._cat", "cats\\._cat", ".%verdict%"])
def test_a_picture_is_not_named_as_a_note_of_macos(pack: Callable[[str], ModuleType], name: str) -> None:
    """``rank`` and the lists of pictures leave out ``._00001_.png``."""
    node = pack("nodes.choosing.save_image").UncertaintySaveImage
    said = "filename_prefix must not make names of files that begin with ._, as macOS names its notes"
    assert said in node.validate_inputs(filename_prefix=name)
    assert pack("nodes.looking.map_files").UncertaintyMapSave.validate_inputs(filename_prefix=name) is True  # no picture


@pytest.mark.parametrize("name", [".cat", "._cats/a", "a._b", "a."])
def test_other_names_with_dots_are_taken(pack: Callable[[str], ModuleType], name: str) -> None:
    assert pack("nodes.folders").check_prefix(name) == name


@pytest.mark.parametrize("value", [None, 5, ["cat"]])
def test_a_name_that_is_no_text_is_refused_by_its_field(pack: Callable[[str], ModuleType], value: object) -> None:
    folders, node = pack("nodes.folders"), pack("nodes.choosing.save_image").UncertaintySaveImage
    for field, check in (("filename_prefix", folders.check_prefix), ("name", folders.running)):
        with pytest.raises(ValueError, match=rf"{field} must be a text, got .*: type one, or connect a node that gives one\."):
            check(value)
    with pytest.raises(ValueError, match="filename_prefix must be a text"):
        node.execute(None, value, None)
    if value is not None:  # as ComfyUI gives the values of links
        assert "filename_prefix must be a text" in node.validate_inputs(filename_prefix=value)


def test_a_saved_file_has_the_date_in_its_name(pack: Callable[[str], ModuleType], tmp_path: Path) -> None:
    import folder_paths

    before = folder_paths.get_output_directory()
    folder_paths.set_output_directory(str(tmp_path))
    try:
        shown = pack("nodes.numbered_files").NumberedFiles("uncertainty/%date:yyyy%/map").write(".safetensors", Path.touch)
        running = pack("nodes.folders").running("night_%date:yyyy%")
    finally:
        folder_paths.set_output_directory(before)
    year = str(datetime.now().year)
    assert (tmp_path / "uncertainty" / year / "map_00001_.safetensors").is_file()
    assert shown["subfolder"] == f"uncertainty/{year}"
    assert running == tmp_path / "uncertainty" / f"night_{year}.safetensors"


@pytest.mark.parametrize("kind", ["here", "windows", "macos"])
def test_names_that_differ_in_case_share_their_numbers(
    pack: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    numbered, write_whole = pack("nodes.numbered_files"), pack("uncertainty.storage.atomic").write_whole
    tries = []

    def write(path: Path) -> None:
        tries.append(path.name)
        write_whole(path, path.name.encode(), replace=False)

    with nullcontext() if kind == "here" else Desk(tmp_path, kind).at_it():
        for prefix in ("Cat", "cat", "CAT", "\u00c9t\u00e9", "e\u0301te\u0301"):
            numbered.NumberedFiles(prefix).write(".png", write)
    names = ["Cat_00001_.png", "cat_00002_.png", "CAT_00003_.png", "\u00c9t\u00e9_00001_.png", "e\u0301te\u0301_00002_.png"]
    assert tries == names and all((tmp_path / name).read_bytes() == name.encode() for name in names)
