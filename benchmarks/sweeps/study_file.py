"""Study files: YAML with a section `small`, which lays the same experiment out on built-in data."""

from __future__ import annotations

from pathlib import Path

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, load_yaml

PRESETS = Path(__file__).parent.parent / "presets"


def find_study(name: str) -> str:
    """A file, or the name of a preset that comes with the package.

    Raises:
        BadConfiguration: neither.
    """
    if Path(name).is_file():
        return name
    shipped = PRESETS / f"{Path(name).stem}.yaml"
    if shipped.exists():
        return str(shipped)
    raise BadConfiguration(f"there is no file {name!r}, and presets are {preset_names()}")


def preset_names() -> str:
    """The presets that come with the package, in one line."""
    return ", ".join(sorted(path.stem for path in PRESETS.glob("*.yaml")))


def load_study(path: str, scale: str) -> Spec:
    """Read a study file: at full scale without its section `small`, at small scale with the keys of that section instead.

    A key that is null in `small` falls away. Published curves are of the full scale: at small scale they are drawn apart.

    Raises:
        BadConfiguration: an unreadable file, or one without the scale asked for.
    """
    content = load_yaml(path)
    small = content.pop("small", None)
    if scale == "full":
        return content
    if not isinstance(small, dict):
        raise BadConfiguration(f"{path} has no section 'small', so there is no --scale small; it runs as it is")
    merged = {name: value for name, value in {**content, **small}.items() if value is not None}
    published = merged.get("published")
    if isinstance(published, dict):
        merged["published"] = {"apart": True, **published}
    elif isinstance(published, list):
        merged["published"] = [{"apart": True, **entry} if isinstance(entry, dict) else entry for entry in published]
    return merged
