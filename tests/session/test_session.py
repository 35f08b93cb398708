"""The conversation with the engine, without a screen."""

import pytest

from tests.session.driven import Driven
from tests.ui.fake_engine import FakeEngine
from tests.ui.lessons import lesson
from tutor.protocol.commands import (
    Inspect,
    OpenLesson,
    Pause,
    Restart,
    RunTo,
    SetLearningRate,
    StepPhase,
    Switch,
)
from tutor.protocol.events import (
    CommandRefused,
    EngineReady,
    InspectionReady,
    LessonFailed,
    ProcessEnded,
    SeekAdvanced,
    StoppedAt,
)
from tutor.protocol.frame import NO_VALUE, Position, Remark
from tutor.protocol.inspections import AutogradGraph, GraphNode, RunInfo
from tutor.session.attempt import CodePlace
from tutor.session.engine_session import MOST_UNANSWERED
from tutor.session.run_view import Notice
from tutor.session.session import next_of_1_2_5


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def session(engine: FakeEngine, clock: Clock) -> Driven:
    """A session with an open lesson."""
    return Driven(engine, lesson(), clock=clock)


def test_opening_a_lesson_sends_it_and_its_first_mode(session: Driven) -> None:
    command = session.engine.sent[0]
    assert isinstance(command, OpenLesson)
    assert command.lesson == lesson()
    assert command.mode == "manual"
    session.inspect(columns=60)
    session.inspect(columns=60)
    looks = [look.columns for look in session.sent(Inspect)]
    assert looks == [0, 60], "the same width is not told twice"


def test_before_pytorch_is_loaded_the_lesson_is_there_and_the_wait_is_told(
    engine: FakeEngine,
) -> None:
    engine.ready_at_once = False
    session = Driven(engine, lesson())
    assert session.view.frame is None
    assert session.check_waiting() == Notice("loading")
    session.step_phase()
    engine.get_ready()
    assert not session.check_waiting().code
    assert session.view.frame is not None
    assert session.view.frame.phase == "Predict"


def test_each_step_keeps_the_frame_before(session: Driven) -> None:
    for _ in range(4):
        session.step_phase()
    view = session.view
    assert view.before.phase == "Gradient"
    assert view.frame.phase == "Update"
    assert view.frame.values["w"].data[0] == pytest.approx(0.3)
    session.inspect(columns=60)
    assert session.view.before is view.before, "a look at the plot changes nothing"


def test_r_runs_to_the_last_epoch_and_pauses(session: Driven) -> None:
    session.toggle_run()
    assert session.engine.sent[-1] == RunTo(epoch=20)
    assert session.is_running
    session.engine.advance(5)
    session.toggle_run()
    assert session.engine.sent[-1] == Pause()
    assert not session.is_running
    assert session.view.epoch == 5
    assert session.view.before.at.epoch < 5, "what has changed is not forgotten"


def test_at_the_last_epoch_r_offers_to_go_on_and_then_does(session: Driven) -> None:
    session.toggle_run()
    session.engine.advance(20)
    session.toggle_run()
    assert session.engine.kinds().count("RunTo") == 1
    assert session.notice == Notice("target_reached", {"epoch": 20, "further": 40})
    session.toggle_run()
    assert session.engine.sent[-1] == RunTo(epoch=40)
    assert session.view.target_epoch == 40


def test_an_unasked_frame_of_a_run_owes_a_taken(session: Driven) -> None:
    session.toggle_run()
    session.engine.advance(3)
    assert session.receive(session.engine.shown()) is True
    session.engine.advance(17)
    assert session.receive(session.engine.shown()) is False


def test_another_learning_rate_in_mid_run_lets_the_run_go_on(session: Driven) -> None:
    session.toggle_run()
    session.raise_learning_rate()
    assert session.engine.sent[-3:] == [Pause(), SetLearningRate(value=0.02), RunTo(epoch=20)]
    assert session.is_running
    session.step_phase()
    assert session.engine.sent[-1] == Pause(), "a step only pauses"


@pytest.mark.parametrize(
    ("act", "value"),
    [("raise_learning_rate", 0.1), ("lower_learning_rate", 0.001)],
)
def test_keys_pressed_faster_than_the_engine_answers_add_up(
    session: Driven, act: str, value: float
) -> None:
    session.engine.holds = True
    for _ in range(3):
        getattr(session, act)()
    assert session.engine.sent[-1] == SetLearningRate(value=value)


def test_g_goes_round_the_modes(session: Driven) -> None:
    session.next_mode()
    assert session.engine.sent[-1] == Switch(mode="autograd")
    session.next_mode()
    assert session.engine.sent[-1] == Switch(mode="manual")
    session.previous_mode()
    assert session.engine.sent[-1] == Switch(mode="autograd")


def test_d_goes_round_the_devices_that_are_there(session: Driven) -> None:
    session.next_device()
    assert not session.sent(Switch)
    assert session.notice == Notice("one_device", {"device": "cpu"}, "no_effect")
    two = Driven(FakeEngine(devices=("cpu", "cuda:1")), lesson())
    two.next_device()
    assert two.engine.sent[-1] == Switch(device="cuda:1")


def test_events_of_the_lesson_before_are_not_heard(session: Driven) -> None:
    session.step_epoch()
    old = session.engine.shown()
    session.engine.holds = True
    session.open(lesson("xor", "XOR with a hidden layer"))
    session.receive(old)
    late = LessonFailed(
        lesson="line",
        phase="Loss",
        line=3,
        error=Remark("text", {"text": "late"}),
        opening=old.opening,
    )
    session.receive(late)
    session.receive(ProcessEnded(remark=Remark("exited"), restarting=True, opening=old.opening))
    assert session.is_waiting
    session.next_mode()
    assert session.view.frame is None
    assert session.view.failed is None
    session.engine.release()
    assert session.view.frame is not None
    assert session.view.frame.phase == "Setup"


def test_opening_another_lesson_in_mid_run_pauses_first(session: Driven) -> None:
    session.toggle_run()
    session.open(lesson("xor"))
    assert session.engine.kinds()[-3:] == ["Pause", "OpenLesson", "Inspect"]
    assert not session.is_running


def test_an_error_leaves_the_last_good_frame(session: Driven) -> None:
    session.step_phase()
    session.engine.fails_at = "Loss"
    good = session.view and session.view.frame
    session.step_phase()
    view = session.view
    assert view.failed is not None
    assert view.frame is good
    assert session.notice == Notice("phase_failed", {"place": CodePlace("Loss", 31)}, "failed")
    session.restart()
    assert session.view.failed is None
    session.stop()
    assert session.engine.stopped == 0
    assert session.notice == Notice("nothing_running", kind="no_effect")


def test_a_lesson_whose_setup_fails_answers_by_that_failure_until_it_is_opened_again(
    engine: FakeEngine,
) -> None:
    session = Driven(engine)
    engine.holds = True
    session.open(lesson())
    failed = LessonFailed(
        answers=1,
        lesson="line",
        phase="Setup",
        line=6,
        error=Remark("text", {"text": "NameError: y"}),
    )
    session.receive(failed)
    assert session.view.failed is failed
    told = session.notice
    assert (told.code, told.values["place"]) == ("phase_failed", CodePlace("Setup", 6))
    for ask in (lambda: session.inspect(graph=True), session.step_phase):
        ask()
        number = len(engine.sent)
        remark = Remark("no_lesson_open")
        session.receive(CommandRefused(remark=remark, can_restart=True, answers=number))
        assert session.notice == told
    session.restart()
    assert not session.sent(Restart)
    assert len(session.sent(OpenLesson)) == 2


def test_after_the_engine_has_ended_the_learner_hears_why_and_where_it_stands_again(
    session: Driven,
) -> None:
    session.step_epoch()
    session.engine.holds = True
    session.step_phase()
    session.stop()
    assert session.engine.stopped == 1
    ended = ProcessEnded(remark=Remark("lesson_did_not_stop"), restarting=True)
    session.receive(ended)
    assert session.notice == Notice("process_ended", {"event": ended}, "failed")
    assert not session.check_waiting().code
    session.receive(session.engine.shown(answers=99))
    assert session.notice == Notice("back_at", {"reason": ended, "epoch": 1}, "failed")


def test_a_process_that_had_to_be_started_again_is_told_what_is_looked_at(session: Driven) -> None:
    """Else the plot would stay as it was when the old process ended."""
    session.inspect(columns=70)
    sent = len(session.engine.sent)
    session.receive(ProcessEnded(remark=Remark("exited"), restarting=True))
    session.receive(EngineReady(torch="2.13.0", devices=("cpu",)))
    assert [c.columns for c in session.engine.sent[sent:] if isinstance(c, Inspect)] == [70]


def test_runs_that_were_run_again_are_shown_without_a_step(session: Driven) -> None:
    """Also when the run has moved on meanwhile: what is known of them belongs to no place."""
    other = RunInfo(name="B", letter="B", mode="manual", device="cpu", learning_rate=0.1, seed=0,
                    last_epoch=7, loss=0.5)  # fmt: skip
    session.receive(InspectionReady(at=Position(99, 1), run="A", runs=(other,)))
    assert session.view.runs == (other,)


def test_a_stop_is_told_until_what_runs_has_stopped(session: Driven) -> None:
    session.step_phase()
    session.engine.holds = True
    session.step_phase()
    number = len(session.engine.sent)
    session.stop()
    session.receive(SeekAdvanced(epoch=1, target=1, seconds_left=9.0))
    assert session.waiting == Notice("stopping")
    session.receive(session.engine.shown(answers=number, stopped=StoppedAt("Loss")))
    assert session.waiting == Notice()
    session.receive(session.engine.shown(answers=99))
    stopped = {"place": CodePlace("Loss"), "is_undone": True}
    assert session.notice.values == stopped, "the answer to the stop does not wipe it out"


def test_what_takes_long_is_named_with_its_seconds(session: Driven, clock: Clock) -> None:
    session.engine.holds = True
    session.step_phase()
    assert not session.check_waiting().code
    session.engine.busy, clock.now = 3.2, clock.now + 3.2
    assert session.check_waiting() == Notice("phase_runs", {"phase": "Predict", "seconds": 3.2})


def test_a_run_that_shows_frames_is_not_called_slow(session: Driven, clock: Clock) -> None:
    session.toggle_run()
    session.engine.busy, clock.now = 9.0, clock.now + 9.0
    session.engine.advance(1)
    assert not session.check_waiting().code
    clock.now += 5
    assert session.check_waiting() == Notice("epoch_runs", {"seconds": 5.0})


def test_keys_held_down_do_not_queue_up_without_end(session: Driven) -> None:
    session.engine.holds = True
    for _ in range(100):
        session.step_phase()
    assert sum(isinstance(c, StepPhase) for c in session.engine.sent) <= MOST_UNANSWERED
    assert session.notice.kind == "refused"


def test_learning_rates_go_by_one_two_five() -> None:
    values = [0.01]
    for _ in range(4):
        values.append(next_of_1_2_5(values[-1], up=True))
    assert values == [0.01, 0.02, 0.05, 0.1, 0.2]
    assert next_of_1_2_5(0.03, up=False) == 0.02
    assert next_of_1_2_5(0.03, up=True) == 0.05


# ── Inside the Gradient phase ───────────────────────────────────────────────────────


def graph(operations: int, *remarks: Remark) -> AutogradGraph:
    nodes = (
        GraphNode(
            id=i, op="Op", says="", name="", inputs=(), value=NO_VALUE, gradient=NO_VALUE, order=i
        )
        for i in range(operations)
    )
    return AutogradGraph(nodes=tuple(nodes), remarks=remarks)


def sees(session: Driven, found: AutogradGraph) -> None:
    frame = session.engine.at.frame()
    session.engine.tell(InspectionReady(at=frame.at, run="A", graph=found))
    session.hear()


def before_gradient(session: Driven) -> None:
    session.open(lesson())
    session.step_phase()
    session.step_phase()


def test_an_operation_waits_for_the_graph_and_is_asked_for_once(session: Driven) -> None:
    before_gradient(session)
    session.step_operation()
    assert session.notice == Notice("reading_graph")
    sees(session, graph(2))
    assert (session.view.operations, session.notice) == (1, Notice())
    sees(session, graph(2))
    assert session.view.operations == 1
    before_gradient(session)
    session.step_operation()
    session.step_phase()
    sees(session, graph(2))
    place = (session.view.operations, session.view.frame.at.step)
    assert place == (0, 3), "it is forgotten once the run has gone on"


def test_where_there_is_no_graph_nothing_else_is_said_first(session: Driven) -> None:
    session.open(lesson())
    session.step_operation()
    assert session.notice == Notice("reading_graph")
    sees(session, graph(0, Remark("by_hand")))
    no_graph = Notice("graph_remarks", {"remarks": (Remark("by_hand"),)}, "no_effect")
    assert session.notice == no_graph
    session.step_operation()
    assert session.notice == no_graph
