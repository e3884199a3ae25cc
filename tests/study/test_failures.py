"""What a user got wrong is said again at once; anything else is tried again."""

from __future__ import annotations

import pytest

from videossl.job import Stopped, UserError
from videossl.study import failures


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def attempt(number: int, error: BaseException | None = None) -> bool:
    """Whether the block ran."""
    ran = False
    with failures.noted("pretrain-rspnet", number):
        ran = True
        if error is not None:
            raise error
    return ran


def test_a_users_error_is_repeated_until_a_first_attempt():
    with pytest.raises(UserError, match="data: ρ is bad"):
        attempt(1, UserError("data: ρ is bad"))
    for number in (2, 3):
        with pytest.raises(UserError, match="data: ρ is bad"):
            attempt(number)
    assert attempt(1)  # mended: it runs
    assert attempt(2)  # and nothing is left of the error


def test_an_error_that_was_mended_does_not_come_back():
    with pytest.raises(UserError):
        attempt(1, UserError("bad"))
    with pytest.raises(KeyboardInterrupt):  # mended, and cut short
        attempt(1, KeyboardInterrupt())
    assert attempt(2)


def test_another_failure_is_tried_again():
    with pytest.raises(OSError, match="lost"):
        attempt(1, OSError("lost"))
    assert attempt(2)


def test_an_attempt_of_another_job_says_nothing():
    with pytest.raises(UserError):
        attempt(1, UserError("bad"))
    with failures.noted("pretrain-vtdl", 2):
        pass


def test_the_last_error_is_known_until_a_try_ends_well():
    assert failures.of("pretrain-rspnet") is None
    with pytest.raises(UserError):
        attempt(1, UserError("ρ is bad"))
    assert failures.of("pretrain-rspnet") == failures.Failure("ρ is bad", True)
    with pytest.raises(OSError, match="lost"):
        attempt(1, OSError("lost"))
    assert failures.of("pretrain-rspnet") == failures.Failure("OSError: lost", False)
    with pytest.raises(Stopped):
        attempt(1, Stopped("saved"))
    assert failures.of("pretrain-rspnet") is None
    with pytest.raises(OSError, match="lost"):
        attempt(1, OSError("lost"))
    assert attempt(2)
    assert failures.of("pretrain-rspnet") is None


def test_a_note_that_is_damaged_says_nothing():
    failures.FOLDER.mkdir(parents=True)
    for text in ("", "{", "[]", '{"text": 1}'):
        (failures.FOLDER / "pretrain-rspnet").write_text(text)
        assert failures.of("pretrain-rspnet") is None
        assert attempt(2)
