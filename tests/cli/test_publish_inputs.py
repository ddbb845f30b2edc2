"""What `wtp publish` makes of its words: inputs in order, and options that fit none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wtp.cli.group import invoke
from wtp.cli.publish_inputs import Asked, check_fit, collect_inputs
from wtp.config.schema import PublishSettings
from wtp.errors import UsageError
from wtp.publisher.choice import (
    ChatInput,
    DataInput,
    FileInput,
    MicrophoneInput,
    ScreenInput,
    VideoInput,
)

SETTINGS = PublishSettings()


def test_every_kind_of_input_in_the_documented_order() -> None:
    asked = Asked(
        cameras=["0"], mics=[""], screens=["1"], sources=["testsrc", "clip.mp4"], chat=True,
        data=["log"], files=["a", "b"], stray=["c"], tracks=["eye", "ear"],
    )  # fmt: skip
    camera, mic, screen, drawn, clip, chat, data, file = collect_inputs(asked, SETTINGS, ())
    assert camera == VideoInput(
        "0", camera=True, size=(640, 480), fps=30.0, sound=False, track="eye"
    )
    assert mic == MicrophoneInput("", "ear")
    assert screen == ScreenInput("1", size=None, fps=15.0)
    assert drawn == VideoInput("testsrc", size=(640, 480), fps=30.0, sound=False)
    assert clip == VideoInput("clip.mp4", size=None, fps=None, sound=True)
    assert isinstance(chat, ChatInput)
    assert isinstance(data, DataInput)
    assert file == FileInput((Path("a"), Path("b"), Path("c")))


def test_size_and_rate_are_imposed_only_when_they_were_asked_for() -> None:
    asked = Asked(screens=["-1280,0,640x480"], sources=["clip.mp4"], loop=True, no_sound=True)
    screen, clip = collect_inputs(asked, SETTINGS, {"publish.size", "publish.fps"})
    assert screen == ScreenInput("-1280,0,640x480", size=(640, 480), fps=30.0)
    assert clip == VideoInput("clip.mp4", size=(640, 480), fps=30.0, loop=True, sound=False)


def test_the_test_pattern_is_never_copied() -> None:
    asked = Asked(sources=["testsrc", "clip.mp4"], copy=True)
    drawn, clip = collect_inputs(asked, SETTINGS, ())
    assert isinstance(drawn, VideoInput)
    assert isinstance(clip, VideoInput)
    assert (drawn.copy, clip.copy) == (False, True)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Asked(), "nothing to publish"),
        (Asked(stray=["clip.mp4"]), "'clip.mp4' belongs to no option"),
        (Asked(files=[""]), "--file needs a path"),
        (Asked(files=["-"]), "Use --data -"),
        (Asked(screens=["left"]), "'left' is no screen"),
        (Asked(screens=["0,0,big"]), "no screen"),
        (Asked(chat=True, tracks=["a", "b"]), "2 --track and 1 inputs"),
        (Asked(data=["x"], chunk=0), "A chunk has"),
    ],
)
def test_inputs_that_make_no_sense(asked: Asked, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        collect_inputs(asked, SETTINGS, ())
    assert says in str(caught.value)
    assert caught.value.hint


CAMERA, MIC, FILE = Asked(cameras=["0"]), Asked(mics=[""]), Asked(sources=["a.mp4"])
COPY = Asked(sources=["a.mp4"], copy=True)
JPEG = PublishSettings(codec="jpeg")


@pytest.mark.parametrize(
    ("asked", "settings", "name"),
    [
        (CAMERA, SETTINGS, "denoise"),
        (CAMERA, SETTINGS, "rate"),
        (CAMERA, SETTINGS, "channels"),
        (CAMERA, SETTINGS, "audio_codec"),
        (CAMERA, SETTINGS, "audio_bitrate"),
        (CAMERA, SETTINGS, "copy"),
        (CAMERA, SETTINGS, "no_sound"),
        (CAMERA, SETTINGS, "loop"),
        (CAMERA, SETTINGS, "chunk"),
        (CAMERA, SETTINGS, "lines"),
        (CAMERA, SETTINGS, "quality"),
        (CAMERA, JPEG, "gop"),
        (MIC, SETTINGS, "fps"),
        (MIC, SETTINGS, "codec"),
        (MIC, SETTINGS, "min_bitrate"),
        (MIC, SETTINGS, "adapt"),
        (MIC, PublishSettings(audio_codec="pcm"), "audio_bitrate"),
        (COPY, SETTINGS, "bitrate"),
        (COPY, SETTINGS, "size"),
        (COPY, SETTINGS, "audio_codec"),
        (Asked(sources=["testsrc"]), SETTINGS, "copy"),
        (Asked(sources=["testsrc"]), SETTINGS, "audio_codec"),
        (Asked(chat=True), SETTINGS, "encoder"),
    ],
)
def test_an_option_without_effect_is_refused_by_name(
    asked: Asked, settings: PublishSettings, name: str
) -> None:
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match=f"^{flag} is about ") as caught:
        check_fit(asked, settings, {name: flag})
    assert caught.value.hint


@pytest.mark.parametrize(
    ("asked", "settings", "names"),
    [
        (CAMERA, SETTINGS, ["fps", "size", "codec", "encoder", "bitrate", "adapt", "gop", "name"]),
        (CAMERA, JPEG, ["quality", "codec"]),
        (MIC, SETTINGS, ["rate", "channels", "denoise", "audio_codec", "audio_bitrate"]),
        (FILE, SETTINGS, ["loop", "copy", "no_sound", "audio_codec", "bitrate"]),
        (Asked(data=["x"]), SETTINGS, ["chunk", "lines"]),
    ],
)
def test_options_that_fit_are_taken(
    asked: Asked, settings: PublishSettings, names: list[str]
) -> None:
    check_fit(asked, settings, dict.fromkeys(names, "--x"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--chat", "--denoise", "off"], "--denoise is about a microphone"),
        (["--chat", "--no-adapt"], "--adapt/--no-adapt is about pictures"),
        (["--file"], "--file needs a path"),
        (["talk.mp4"], "--source talk.mp4"),
        (["--screen", "middle"], "'middle' is no screen"),
        (["--mic", "--codec", "av1"], "--codec is about pictures"),
        (["--camera", "--min-bitrate", "3M"], "--min-bitrate 3M is above --bitrate 2.5M"),
    ],
)
def test_it_is_said_on_the_command_line(
    words: list[str], says: str, clean_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["publish", *words]) == 2
    assert says in capsys.readouterr().err


def test_what_the_environment_says_need_not_fit(
    clean_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WTP_DENOISE", "off")
    monkeypatch.setattr("sys.stdin", None)
    assert invoke(["publish", "--chat"]) == 2
    assert "Standard input is closed" in capsys.readouterr().err


def test_usage_names_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["publish", "--help"]) == 0
    usage = next(line for line in capsys.readouterr().out.splitlines() if "Usage:" in line)
    assert usage.split() == ["Usage:", "wtp", "publish", "[OPTIONS]"]
