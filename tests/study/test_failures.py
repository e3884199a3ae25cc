"""What a user got wrong is said again at once; anything else is tried again."""

from __future__ import annotations

from contextlib import suppress

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


# ------------------------------------------------------------------ one stage in several processes


def started(*errors: Exception, status: int = 1) -> None:
    """A stage whose processes end with these errors, as the process sees it that started them."""
    with failures.noted("pretrain-rspnet", 1):
        for error in errors:
            with suppress(type(error)), failures.one_of_several("pretrain-rspnet"):
                raise error
        raise failures.Failed("2 ranks", status)


@pytest.mark.parametrize("order", [1, -1])
def test_a_users_error_in_one_process_counts_also_if_others_fail_of_it(order):
    errors = [UserError("ρ is bad"), RuntimeError("the peer is gone")][::order]
    with pytest.raises(UserError, match="one of 2 ranks failed; its error is above"):
        started(*errors, status=failures.AGAIN)
    with pytest.raises(UserError, match="ρ is bad"):  # nothing is above then
        attempt(2)


def test_another_failure_of_one_process_is_tried_again():
    with pytest.raises(failures.Failed, match="one of 2 ranks failed"):
        started(MemoryError("no memory"), RuntimeError("the peer is gone"))
    assert failures.of("pretrain-rspnet").text == "MemoryError: no memory"
    assert attempt(2)
    with pytest.raises(failures.Failed):  # killed: it could not say why
        started()
    assert failures.of("pretrain-rspnet").text == "one of 2 ranks failed; its error is above"
    assert attempt(2)


def test_processes_that_are_asked_to_stop_have_not_failed():
    """By a signal that reaches them, and not who started them."""
    with pytest.raises(Stopped, match="2 ranks were asked to stop"):
        started(Stopped("saved"), Stopped("saved"), status=failures.AGAIN)
    assert failures.of("pretrain-rspnet") is None


def test_a_note_of_an_earlier_attempt_is_not_taken_for_what_this_one_ended_with():
    with pytest.raises(OSError, match="lost"):
        attempt(1, OSError("lost"))
    with pytest.raises(Stopped), failures.noted("pretrain-rspnet", 2):
        raise failures.Failed("2 ranks", failures.AGAIN)
