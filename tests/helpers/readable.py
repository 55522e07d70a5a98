"""Whether a picture can be read: ticks on every axis, labels apart from each other and within the picture.

The figure is rendered, and the boxes that its texts take are compared.
"""

from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

SLACK = 0.5  # of a pixel, of rounding
NEAR = 0.03  # of an axis, by which a tick may lie outside the data


def assert_readable(figure: Figure) -> None:
    """Fail when an axis has fewer than two labelled ticks over its data, or texts overlap or leave the picture.

    A panel without data has no ticks, but a sentence.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    for axes in figure.axes:
        if not has_data(axes):
            assert any(text.get_text().strip() for text in axes.texts), f"an empty panel says nothing: {name_of(axes)}"
            for axis in (axes.xaxis, axes.yaxis):
                bare = not np.isfinite(axis.get_data_interval()).all()
                assert not (bare and labels_of(axis)), f"an axis without data has ticks: {name_of(axes)}"
        for axis in (axes.xaxis, axes.yaxis):
            assert_ticks(axes, axis, renderer)
    assert_texts_apart(figure, renderer)


def has_data(axes: Axes) -> bool:
    """Whether something finite is drawn at places of both axes."""
    return bool(np.isfinite([axes.xaxis.get_data_interval(), axes.yaxis.get_data_interval()]).all())


def assert_ticks(axes: Axes, axis: Axis, renderer) -> None:
    if is_colour_bar(axes) or not np.isfinite(axis.get_data_interval()).all():
        return
    siblings = axes.get_shared_x_axes() if axis is axes.xaxis else axes.get_shared_y_axes()
    labels = labels_of(axis)
    if not labels and len(siblings.get_siblings(axes)) > 1:
        return  # the neighbour has them
    if len(labels) == 1 and not any(letter.isdigit() for letter in labels[0][1].get_text()):
        return  # the only one of a kind, under its name
    where = f"{name_of(axes)}, {'x' if axis is axes.xaxis else 'y'}: {[text.get_text() for _, text in labels]}"
    low, high = sorted(axis.get_view_interval())
    first, last = np.clip(sorted(axis.get_data_interval()), low, high)
    ends = axis.get_transform().transform(np.array([low, high, first, last, *(position for position, _ in labels)]))
    places = (ends[2:] - ends[0]) / (ends[1] - ends[0])  # over the length of the axis
    first_place, last_place = places[:2] if places[1] - places[0] > 0.3 else (0.0, 1.0)
    within = (places[2:] >= first_place - NEAR) & (places[2:] <= last_place + NEAR)
    assert within.sum() >= 2, f"fewer than two labelled ticks between {first:g} and {last:g}: {where}"
    assert_apart([text for _, text in labels], renderer, where)


def labels_of(axis: Axis) -> list[tuple[float, Text]]:
    """Place and text of the labels that are seen, of major and minor ticks."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [
        (tick.get_loc(), label)
        for tick in ticks
        for label in (tick.label1, tick.label2)
        if label.get_visible() and label.get_text() and low - slack <= tick.get_loc() <= high + slack
    ]


def assert_apart(texts: list[Text], renderer, where: str) -> None:
    boxes = [text.get_window_extent(renderer).padded(-SLACK) for text in texts]
    for (i, first), (j, second) in combinations(enumerate(boxes), 2):
        assert not first.overlaps(second), f"{texts[i].get_text()!r} and {texts[j].get_text()!r} overlap: {where}"


def assert_texts_apart(figure: Figure, renderer) -> None:
    """Titles, names of axes, tick labels of different axes and legends do not touch, and none is cut."""
    groups = {"title of all": [figure._suptitle] if figure._suptitle else []}
    for axes in figure.axes:
        name = name_of(axes)
        groups[f"title of {name}"] = [axes.title]
        for axis, which in ((axes.xaxis, "x"), (axes.yaxis, "y")):
            groups[f"name of {which}, {name}"] = [axis.label]
            groups[f"ticks of {which}, {name}"] = [text for _, text in labels_of(axis)]
        legend = axes.get_legend()
        groups[f"legend of {name}"] = [legend] if legend else []
    groups |= {f"legend {i}": [legend] for i, legend in enumerate(figure.legends)}
    boxes = {
        name: [
            part.get_window_extent(renderer).padded(-SLACK)
            for part in parts
            if not isinstance(part, Text) or part.get_text()
        ]
        for name, parts in groups.items()
    }
    for name, parts in boxes.items():
        for box in parts:
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1
            assert inside, f"{name} leaves the picture: {box}"
    for (one, first), (other, second) in combinations(boxes.items(), 2):
        if one.startswith("ticks") and other.startswith("ticks") and one.split(", ")[1] == other.split(", ")[1]:
            continue  # the two axes of a panel meet in its corner
        assert not any(a.overlaps(b) for a in first for b in second), f"{one} and {other} overlap"


def is_colour_bar(axes: Axes) -> bool:
    return axes.get_label() == "<colorbar>"


def name_of(axes: Axes) -> str:
    return repr(axes.get_title() or axes.get_ylabel() or axes.get_xlabel() or axes.get_label())
