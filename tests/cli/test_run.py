"""`run`, `watch` and `runs` against a real server, used at a terminal and by programs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .processes import CTRL_C, Done, Terminal

Run = Callable[..., Done]
Open = Callable[..., Terminal]


def test_run_is_shown_to_its_end(invoke: Run, server: str) -> None:
    done = invoke("run", "greeter", "hi", "--url", server)
    assert done.exit_code == 0, done
    assert "ai      hello to you\n" in done.out
    assert "-- success, 1 input tokens, 3 output tokens" in done.out


def test_program_gets_one_object_per_line(invoke: Run, server: str) -> None:
    done = invoke("run", "greeter", "hi", "--url", server, "--json")
    (created,), (ended,) = done.of("created"), done.of("ended")
    assert created["run_id"] == ended["run_id"]
    assert (ended["status"], ended["input_tokens"], ended["output_tokens"]) == ("success", 1, 3)
    ids = [part["id"] for part in done.of("part")]
    assert ids == [f"1-{seq}" for seq in range(1, len(ids) + 1)]


def test_input_may_be_any_json(invoke: Run, server: str) -> None:
    text = '{"messages": [{"role": "user", "content": "a b c d"}]}'
    assert "4 input tokens" in invoke("run", "greeter", "--input", text, "--url", server).out


def test_failed_run_fails_the_command(invoke: Run, server: str) -> None:
    done = invoke("run", "broken", "hi", "--url", server)
    assert done.exit_code == 1
    assert "ValueError" in done.out
    assert "-- error" in done.out


def test_interrupt_without_terminal_stays_open_and_is_resumed_later(invoke: Run, server: str) -> None:
    asked = invoke("run", "asker", "hi", "--url", server, "--json")
    assert asked.exit_code == 3
    (waiting,) = asked.of("waiting")
    assert f"--thread {waiting['thread_id']} --resume JSON --url {server}" in waiting["answer"]

    thread = ("--thread", waiting["thread_id"])
    answered = invoke("run", "asker", *thread, "--resume", '"fine"', "--url", server)
    assert answered.exit_code == 0
    assert "the answer was 'fine'" in answered.out


def test_yes_approves_without_asking(invoke: Run, server: str) -> None:
    done = invoke("run", "asker", "hi", "--yes", "--url", server)
    assert done.exit_code == 0
    assert "the answer was True" in done.out


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["missing", "hi"], 1, "Invalid assistant: 'missing'"),
        (["greeter"], 2, "give a text, or --input JSON"),
        (["greeter", "hi", "--input", "{}"], 2, "one of them"),
        (["greeter", "--input", "{"], 2, "--input is not JSON"),
        (["greeter", "hi", "--thread", "not-a-uuid"], 1, "must be a UUID"),
    ],
)
def test_invalid_run_prints_an_error_without_traceback(
    arguments: list[str], exit_code: int, said: str, invoke: Run, server: str
) -> None:
    done = invoke("run", *arguments, "--url", server)
    assert done.exit_code == exit_code
    assert done.err.startswith("error: ")
    assert said in done.err
    assert "Traceback" not in done.err


def test_unreachable_server_error_names_the_remedy(invoke: Run) -> None:
    nowhere = ("--url", "http://127.0.0.1:9")
    for command in (("run", "a", "hi"), ("watch", "r"), ("runs", "ls"), ("runs", "retry", "r")):
        done = invoke(*command, *nowhere)
        assert done.exit_code == 1
        assert "error: no server answers at http://127.0.0.1:9" in done.err
        assert "`runstead dev`" in done.err
    (error,) = invoke("runs", "ls", "--json", *nowhere).of("error")
    assert "--url" in error["way_out"]


def test_server_url_comes_from_the_settings(invoke: Run, server: str) -> None:
    assert invoke("runs", "ls", RUNSTEAD_PORT=server.rpartition(":")[2]).exit_code == 0


def test_finished_run_can_be_watched_again_from_its_beginning(invoke: Run, server: str) -> None:
    first = invoke("run", "greeter", "hi", "--url", server, "--json")
    run_id = first.of("created")[0]["run_id"]
    again = invoke("watch", run_id, "--url", server, "--json")
    assert again.exit_code == 0
    assert [part["id"] for part in again.of("part")] == [part["id"] for part in first.of("part")]
    assert again.of("ended")[0]["status"] == "success"


def test_runs_are_listed_newest_first(invoke: Run, server: str) -> None:
    first, second = (
        invoke("run", "greeter", "hi", "--url", server, "--json").of("created")[0]["run_id"] for _ in range(2)
    )
    listed = [run["run_id"] for run in invoke("runs", "ls", "--url", server, "--json").of("run")]
    assert listed[:2] == [second, first]
    shown = invoke("runs", "ls", "--limit", "1", "--url", server).out
    assert second in shown
    assert first not in shown
    failed = invoke("runs", "ls", "--status", "error", "--url", server, "--json").of("run")
    assert {run["status"] for run in failed} <= {"error"}
    assert invoke("runs", "ls", "--dead", "--url", server).out.strip() == "no runs"


def test_only_a_dead_letter_is_retried(invoke: Run, server: str) -> None:
    run_id = invoke("run", "greeter", "hi", "--url", server, "--json").of("created")[0]["run_id"]
    done = invoke("runs", "retry", run_id, "--url", server)
    assert done.exit_code == 1
    assert "not a dead letter" in done.err


def test_ctrl_c_detaches_and_the_run_continues(terminal: Open, invoke: Run, server: str) -> None:
    talking = terminal("run", "talker", "hi", "--url", server)
    talking.wait_for("-- run ")
    talking.wait_for(" started")
    talking.wait_for("word5")
    talking.press(CTRL_C)
    talking.wait_for("To watch it again: runstead watch ")
    talking.wait_for(" --url")
    assert talking.end() == 0

    (run, *_) = invoke("runs", "ls", "--limit", "1", "--url", server, "--json").of("run")
    again = invoke("watch", run["run_id"], "--url", server)
    assert again.exit_code == 0
    assert "word0 word1 word2" in again.out
    assert again.out.count("word99") == 1


def test_second_ctrl_c_cancels(terminal: Open, invoke: Run, server: str) -> None:
    talking = terminal("run", "talker", "hi", "--url", server)
    talking.wait_for("word5")
    talking.press(CTRL_C)
    talking.wait_for("to cancel it")
    talking.press(CTRL_C)
    talking.wait_for("cancelled")
    assert talking.end() == 130
    (run,) = invoke("runs", "ls", "--limit", "1", "--url", server, "--json").of("run")
    assert run["status"] == "interrupted"


def test_run_is_cancelled_by_its_id(terminal: Open, invoke: Run, server: str) -> None:
    talking = terminal("run", "talker", "hi", "--url", server)
    talking.wait_for("word5")
    (run,) = invoke("runs", "ls", "--limit", "1", "--url", server, "--json").of("run")
    done = invoke("runs", "cancel", run["run_id"], "--url", server)
    assert (done.exit_code, done.out) == (0, f"Run {run['run_id']} is interrupted.\n")
    talking.wait_for("-- interrupted")
    assert talking.end() == 130


@pytest.mark.parametrize(
    ("keys", "answer"), [(["y\n"], "True"), (["n\n"], "False"), (["e\n", '{"a": 1}\n'], "{'a': 1}")]
)
def test_person_answers_at_the_terminal(keys: list[str], answer: str, terminal: Open, server: str) -> None:
    asking = terminal("run", "asker", "hi", "--url", server)
    asking.wait_for("e = enter an answer: ")
    for key in keys:
        asking.press(key)
    asking.wait_for(f"the answer was {answer}")
    assert asking.end() == 0


def test_ctrl_c_at_a_question_leaves_it_open(terminal: Open, server: str) -> None:
    asking = terminal("run", "asker", "hi", "--url", server)
    asking.wait_for("e = enter an answer: ")
    asking.press(CTRL_C)
    asking.wait_for("give one with: runstead run ")
    assert asking.end() == 3


def test_watch_shows_a_running_run(terminal: Open, invoke: Run, server: str) -> None:
    talking = terminal("run", "talker", "hi", "--url", server)
    talking.wait_for("word10")
    (run,) = invoke("runs", "ls", "--limit", "1", "--url", server, "--json").of("run")
    watching = terminal("watch", run["run_id"], "--url", server)
    watching.wait_for("word0 word1")
    watching.wait_for("word99")
    watching.wait_for("-- success")
    assert watching.end() == 0
