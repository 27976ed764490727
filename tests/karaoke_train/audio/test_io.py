"""What an audio file sounds like, however it is stored, and what is said of one that can't be used:
the decoder's own reason, or what is plain to see of the file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from karaoke_train.audio import io, mpeg
from karaoke_train.audio.io import SUFFIXES, AudioError, Reader, probe, read

GARBAGE = b"these are words, and no sound at all\n" * 200


def said(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        probe(path)
    return caught.value.reason


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("data", [GARBAGE, bytes(4000)], ids=["words", "zeros"])
def test_a_file_that_is_there_is_never_said_not_to_be(
    tmp_path: Path, suffix: str, data: bytes
) -> None:
    path = tmp_path / f"song{suffix}"
    path.write_bytes(data)
    assert said(path).startswith("is no audio that can be read (")
    assert "not exist" not in said(path)


def test_an_mp3_without_a_frame_is_said_to_have_none(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(GARBAGE)
    assert "its decoder finds no MPEG audio in it" in said(path)


def test_an_empty_file_a_folder_and_nothing_are_told_apart(tmp_path: Path) -> None:
    empty, folder = tmp_path / "empty.wav", tmp_path / "folder.wav"
    empty.touch()
    folder.mkdir()
    assert said(empty).startswith("is empty")
    assert said(folder).startswith("is no file")
    assert said(tmp_path / "gone.wav").startswith("is not there")
    assert said(empty / "below.wav").startswith("is not there")


def test_a_name_that_cannot_be_is_said_in_words(tmp_path: Path) -> None:
    assert said(tmp_path / ("x" * 300 + ".wav")) == "can't be read (File name too long)"
    assert said(Path("a\0.wav")) == "can't be read (embedded null byte)"


def test_a_file_whose_name_is_no_utf_8_is_read(tmp_path: Path) -> None:
    plain, odd = tmp_path / "song.wav", tmp_path / os.fsdecode(b"caf\xe9.wav")
    soundfile.write(plain, np.full(1600, 0.5), 16_000)
    plain.rename(odd)
    assert probe(odd) == 0.1
    assert len(read(odd)) == 1600


def test_a_file_that_was_never_written_to_its_end_is_not_read_as_hours_of_silence(
    tmp_path: Path,
) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(16_000), 16_000)
    promised = (1 << 32) - 1024
    whole = bytearray(path.read_bytes())
    whole[4:8], whole[40:44] = ((promised - n).to_bytes(4, "little") for n in (8, 44))
    path.write_bytes(whole)
    assert probe(path) == 2.0  # the header alone lies, as that of a recording program's pipe does
    os.truncate(path, promised)
    if path.stat().st_blocks * 512 > promised / 2:
        pytest.skip("this file system has no holes")
    assert said(path) == "was never written to its end, or has a hole; copy it again"


def test_holes_in_place_of_some_silence_are_silence(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(16_000), 16_000)
    with path.open("r+b") as file:
        file.truncate(44 + 2 * 16_000)
        file.truncate(44 + 2 * 16_000 * 2)
    assert probe(path) == 2.0
    assert not read(path, 1.0).any()


def test_a_recording_of_which_less_is_hole_than_sound_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zfs keeps no zeros: a stem of a concert has minutes of them."""
    monkeypatch.setattr(io, "_UNWRITTEN", 1 << 16)
    path = tmp_path / "stem.wav"
    soundfile.write(path, np.zeros(300_000), 16_000)
    head, silence = path.read_bytes()[:44], 200_000
    for sound, refused in ((400_000, False), (100_000, True)):
        with path.open("wb") as file:
            file.write(head)
            file.write(b"\x01\x02" * (sound // 4))
            file.seek(silence, os.SEEK_CUR)
            file.write(b"\x01\x02" * (sound // 4))
        if path.stat().st_blocks * 512 > sound + silence / 2:
            pytest.skip("this file system has no holes")
        if refused:
            assert said(path) == "was never written to its end, or has a hole; copy it again"
        else:
            assert probe(path) > 0


# --- what is read


def tone(rate: int, seconds: float = 2.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)


def channels(*sounds: np.ndarray) -> np.ndarray:
    return np.stack(sounds, axis=1)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 0.01),
        ("a.wav", "PCM_16", 1e-3),
        ("a.wav", "PCM_24", 1e-3),
        ("a.wav", "FLOAT", 1e-3),
        ("a.wav", "DOUBLE", 1e-3),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", "MPEG_LAYER_III", 0.05),
    ],
)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_each_way_to_store_a_sound_gives_the_sound(
    tmp_path: Path, name: str, subtype: str, tolerance: float, rate: int
) -> None:
    soundfile.write(tmp_path / name, channels(tone(rate), tone(rate)), rate, subtype=subtype)
    heard = read(tmp_path / name, 0.5, 1.5)
    assert np.abs(heard - tone(16_000)[8_000:24_000]).max() < tolerance


@pytest.mark.parametrize(("subtype", "tolerance"), [("GSM610", 0.1), ("G721_32", 0.02)])
def test_what_telephones_store_is_read_though_it_can_not_be_sought_in(
    tmp_path: Path, subtype: str, tolerance: float
) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, tone(8_000, 4.0), 8_000, subtype=subtype)
    assert probe(path) == pytest.approx(4.0, abs=0.05)  # whole blocks
    whole = read(path)
    assert np.abs(whole[8_000:24_000] - tone(16_000)[8_000:24_000]).max() < tolerance
    with Reader(path) as reader:
        for start in (2.0, 0.5, 3.0):  # onwards and back
            first = round(start * 16_000)
            heard = reader.read(start, start + 0.5)
            np.testing.assert_allclose(heard, whole[first : first + 8_000], atol=1e-6)


NOISE = np.random.default_rng(0).normal(0.0, 0.02, (4, 88_200))
VOICE = tone(44_100)


@pytest.mark.parametrize(
    "stored",
    [
        channels(VOICE, VOICE),
        channels(VOICE, 0.0 * VOICE),
        channels(VOICE, -VOICE),  # their mean is silence
        channels(VOICE, -0.95 * VOICE),
        channels(VOICE, -VOICE, 0.0 * VOICE, 0.0 * VOICE),
        channels(NOISE[0], NOISE[1], VOICE, 0.0 * VOICE, NOISE[2], NOISE[3]),  # 5.1: in the middle
    ],
    ids=["both", "left", "mirrored", "nearly mirrored", "mirrored of four", "5.1"],
)
def test_a_voice_is_heard_on_whatever_channels_it_is(tmp_path: Path, stored: np.ndarray) -> None:
    soundfile.write(tmp_path / "a.wav", stored, 44_100)
    heard = read(tmp_path / "a.wav", 0.5, 1.5)
    assert abs(np.corrcoef(heard, tone(16_000)[8_000:24_000])[0, 1]) > 0.97
    assert np.abs(heard).max() > 0.08


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_windows_are_read_on_and_are_the_samples_of_the_whole(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    time = np.arange(44_100 * 9) / 44_100
    glide = 0.5 * np.sin(2 * np.pi * (220 * time + 20 * time**2))  # an .mp3 fits it in tiny frames
    soundfile.write(path, channels(glide, glide), 44_100)
    whole = read(path)
    jumps: list[int] = []
    seek = soundfile.SoundFile.seek

    def counting(file: soundfile.SoundFile, frames: int, whence: int = 0) -> int:
        before, after = seek(file, 0, 1), seek(file, frames, whence)
        jumps.extend([after] if after != before else [])
        return after

    monkeypatch.setattr(soundfile.SoundFile, "seek", counting)
    with Reader(path) as reader:
        for start in (0.0, 2.5, 3.0, 5.5, 8.0):  # within the one before, and right behind it
            part = reader.read(start, start + 2.5)
            wanted = whole[round(start * 16_000) : round((start + 2.5) * 16_000)]
            assert np.allclose(part, wanted, atol=1e-5)
        assert jumps == []
        for start in (1.0, 7.0, 4.0):
            part = reader.read(start, start + 0.5)
            assert jumps
            wanted = whole[round(start * 16_000) : round((start + 0.5) * 16_000)]
            assert np.allclose(part, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_single_sample_is_a_sound_and_none_is_not(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, np.full(1, 0.5), 16_000)
    assert probe(tmp_path / name) > 0
    assert np.isfinite(read(tmp_path / name, 0.0, 0.02)).all()
    soundfile.write(tmp_path / name, np.zeros(0), 16_000)
    assert said(tmp_path / name).startswith(("holds no sound", "is empty"))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.nan, "holds samples that are not numbers"),
        (np.inf, "holds samples that are not numbers"),
        (20_000.0, "holds samples over 100, where 1 is as loud as can be"),
        (3e38, "holds samples over 100, where 1 is as loud as can be"),
    ],
)
def test_one_sample_that_cannot_be_is_enough(tmp_path: Path, value: float, why: str) -> None:
    sound = channels(tone(16_000), tone(16_000)).astype(np.float32)
    sound[20_000, 1] = value
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    assert len(read(tmp_path / "a.wav", 0.0, 1.0)) == 16_000
    with pytest.raises(AudioError) as caught:
        read(tmp_path / "a.wav", 1.0, 2.0)
    assert caught.value.reason.startswith(why)


def mp3(path: Path, *, channels: int = 1, rate: int = 44_100, seconds: float = 4.0) -> bytes:
    """A tone that sets in late, so that the frames have many bit rates, the first one the highest;
    and where the encoder's word of the length ends."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(3).normal(0, 0.3, len(time)) * (time < 0.3)
    sound = 0.3 * np.sin(2 * np.pi * 220 * time) * (time > 1) + noise
    soundfile.write(path, np.stack([sound] * channels, 1), rate, format="MP3")
    return path.read_bytes()


def without_length(data: bytes) -> bytes:
    """From the second frame on."""
    first = mpeg._frame(data[:4])
    assert first is not None
    assert b"Xing" in data[: first.length] or b"Info" in data[: first.length]
    return data[first.length :]


@pytest.mark.parametrize(
    ("channels", "rate"), [(1, 44_100), (2, 48_000), (2, 44_100), (1, 22_050), (2, 16_000)]
)
def test_an_mp3_that_does_not_say_how_long_it_is_is_read_to_its_end(
    tmp_path: Path, channels: int, rate: int
) -> None:
    data = mp3(tmp_path / "whole.mp3", channels=channels, rate=rate)
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(without_length(data))
    assert probe(cut) == pytest.approx(4.0, abs=0.15)
    whole, found = read(tmp_path / "whole.mp3"), read(cut)
    start = np.argmax(np.abs(whole[12_000:]) > 0.1) + 12_000  # the tone
    same = np.argmax(np.abs(found[12_000:]) > 0.1) + 12_000
    end = min(len(whole) - start, len(found) - same)
    assert end > 2.5 * 16_000
    assert np.abs(whole[start : start + end] - found[same : same + end]).max() < 0.1
    part = read(cut, 2.0, 2.5)
    np.testing.assert_allclose(part, found[32_000:40_000], atol=1e-4)


def test_mp3s_one_behind_the_other_are_read_to_the_end_of_the_last(tmp_path: Path) -> None:
    data = mp3(tmp_path / "one.mp3")
    two = tmp_path / "two.mp3"
    two.write_bytes(data + data)
    assert probe(two) == pytest.approx(8.0, abs=0.3)


def test_pictures_and_words_around_an_mp3_are_no_part_of_its_length(tmp_path: Path) -> None:
    data = without_length(mp3(tmp_path / "whole.mp3"))
    tagged = tmp_path / "tagged.mp3"
    size = bytes((0, 0, 1, 72))  # 200 bytes, 7 bits each
    torn = b"\xff\xfb" + bytes(300)  # begins like a frame, and none follows
    tagged.write_bytes(b"ID3\4\0\0" + size + bytes(200) + torn + data + b"APETAGEX" + bytes(90_000))
    assert probe(tagged) == pytest.approx(4.0, abs=0.15)


def test_an_mp3_that_was_broken_off_is_not_taken_for_a_shorter_one(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp3"
    data = mp3(tmp_path / "whole.mp3")
    broken.write_bytes(data[: len(data) // 2])
    assert said(broken).startswith("breaks off before its end")


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.wav", "PCM_16"), ("a.wav", "FLOAT"), ("a.wav", "GSM610"), ("a.aiff", "PCM_24"),
     ("a.flac", "PCM_16")],
)  # fmt: skip
def test_a_file_that_was_cut_short_is_not_taken_for_a_shorter_one(
    tmp_path: Path, name: str, subtype: str
) -> None:
    path = tmp_path / name
    sound = 0.3 * np.random.default_rng(1).standard_normal(80_000)
    soundfile.write(path, sound, 16_000, subtype=subtype)
    assert probe(path) == pytest.approx(5.0, abs=0.05)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert re.match(r"breaks off before its end|is damaged", said(path))


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000, None])
def test_a_wav_whose_writer_did_not_know_its_length_is_read_as_far_as_it_goes(
    tmp_path: Path, length: int | None
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(32_000, 0.1), 16_000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    told = length if length is not None else int.from_bytes(data[at : at + 4], "little") + 512
    data[at : at + 4] = told.to_bytes(4, "little")
    path.write_bytes(data)
    assert probe(path) == pytest.approx(2.0)


def test_a_recording_without_its_length_is_told_from_one_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(32_000, 0.1), 16_000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    assert "or convert it, where a recorder was ended" in said(path)
