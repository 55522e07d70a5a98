"""A round can be read: a flat one enters few files and meets few switches."""

from helpers.round_trace import course_of, flat_round


def test_a_flat_round_enters_few_files_and_meets_few_switches():
    course = course_of(flat_round())
    assert "channels/uplinks/analog.py" in course.files
    assert len(course.files) <= 13, course.files
    assert 10 <= len(course.switches) <= 34, sorted(course.switches)


def test_switches_are_counted():
    def one_of_two(x):
        return 1 if x else 2

    one_of_two.__globals__["__name__"] = "laser_wireless.test"
    try:
        assert len(course_of(lambda: one_of_two(1)).switches) == 1
    finally:
        one_of_two.__globals__["__name__"] = __name__
