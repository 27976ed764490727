"""A model's notes beside those of SwiftF0, pYIN and basic-pitch, on unseen synthetic songs.

    python -m benchmarks.singing [--model NAME_OR_DIR] [--goal] [--json] [--pictures DIR]

Scores are mir_eval.transcription's: onsets within 50 ms (COn), pitch within 50 cents besides
(COnP), offsets within max(50 ms, 20 %) besides (COnPOff); F1 as the mean over songs with its 95 %
bootstrap interval. The melodies come from three seeds that nothing was trained or tuned on, and are
sung in the three styles that training never hears (VALIDATION_VOICES). Each contender reads the
same 16-bit wav files. SwiftF0 and pYIN run here where they are installed (`karaoke-train[peers]`).
The first run makes `.venv-basic-pitch`, since basic-pitch 0.4.0 asks for a TensorFlow that does not
go with numpy 2; it carries the same network as ONNX, which runs without.

How fair that is. For basic-pitch: its defaults are shown, and beside them settings for one voice
that were searched on 20 other melodies by the very voices of the test, where our decoder's
weights were chosen, too. Against it: it gives whole semitones, and the singers are up to 45 cents
off these, within the 50 allowed. None of the others has heard this synthesiser, while ours was
trained on the same generator with other voices, melodies and recordings drawn alike, and on the
same rule for where a sung note begins. basic-pitch is polyphonic and made for any instrument. So
the tables say that training worked, not who is better on recordings of people: for that, run
`karaoke-train evaluate --peers` on a set of such recordings.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

from karaoke_train.audio import io
from karaoke_train.audio.features import extract
from karaoke_train.audio.units import SAMPLE_RATE
from karaoke_train.inference import peers
from karaoke_train.inference.evaluate import NAMES, Evaluation, SongScore, compared
from karaoke_train.inference.metrics import count_notes
from karaoke_train.inference.plot import piano_roll_png
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.model import pretrained
from karaoke_train.model.checkpoints import CheckpointError
from karaoke_train.notes import Note
from karaoke_train.settings import MODEL
from karaoke_train.synth import HELD_OUT_VOICES, VALIDATION_VOICES, synthetic_songs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from karaoke_train.audio.features import FeatureSettings
    from karaoke_train.synth import SyntheticSong

SEEDS = (20_231_107, 5, 6)  # training draws from 42 and 43, the decoder was fitted on 777
TUNING_SEED, TUNING_SONGS = 777, 20
GOAL = {"onset_pitch_f1": 0.80, "note_f1": 0.60}  # means over songs by HELD_OUT_VOICES

ROOT = Path(__file__).parents[1]
PEER = Path(__file__).with_name("peers") / "basic_pitch_notes.py"
PEER_VENV = ROOT / ".venv-basic-pitch"
PEER_NEEDS = ("onnxruntime", "librosa", "resampy<0.4.3", "pretty_midi", "mir_eval", "scikit-learn",
              "setuptools<81", "scipy")  # fmt: skip
PEER_ITSELF = "basic-pitch==0.4.0"  # without its dependencies: tensorflow<2.15.1, numpy 1

# What is tried for one voice. `earlier`: seconds by which its times are moved, since what counts as
# the start of a sung note is a convention, and ours (the vowel's start) was never told to it.
SINGING = {"minimum_frequency": 65.0, "maximum_frequency": 1760.0}  # Hz, our model's range
ONSETS, FRAMES, SHORTEST = (0.3, 0.4, 0.5, 0.6, 0.7), (0.2, 0.3, 0.4), (90.0, 127.7, 160.0)
EARLIER = (0.0, 0.01, 0.02, 0.03)
SETTINGS = [
    {**SINGING, "onset_threshold": onset, "frame_threshold": frame, "minimum_note_length": shortest}
    for onset, frame, shortest in product(ONSETS, FRAMES, SHORTEST)
]

Event = tuple[float, float, float, float]  # onset and offset in s, MIDI pitch, amplitude


class PeerError(RuntimeError):
    """basic-pitch can't be set up or run; the message says why."""


@dataclass(frozen=True)
class Contender:
    """One row of the table. `notes` has one list per song."""

    name: str
    scores: Evaluation
    notes: list[list[Note]]
    setting: dict[str, float] = field(default_factory=dict)


def one_voice(events: Iterable[Event]) -> list[Event]:
    """What a single voice can sing of polyphonic notes: the loudest ones, none overlapping.

    From the loudest on, a note stays if louder ones cover less than half of it, and is cut where
    they do. In order of onset.
    """
    kept: list[Event] = []
    for onset, offset, pitch, amplitude in sorted(events, key=lambda event: -event[3]):
        covered = sum(max(0.0, min(offset, o[1]) - max(onset, o[0])) for o in kept)
        if covered >= 0.5 * (offset - onset):
            continue
        begin = max([onset, *(o[1] for o in kept if o[0] <= onset < o[1])])
        end = min([offset, *(o[0] for o in kept if begin <= o[0] < offset)])
        if begin < end:
            kept.append((begin, end, pitch, amplitude))
    return sorted(kept)


def score(songs: Sequence[SyntheticSong], found: Sequence[Sequence[Note]]) -> Evaluation:
    """mir_eval's counts of each song."""
    pairs = zip(songs, found, strict=True)
    return Evaluation(
        [SongScore(song.name, count_notes(song.notes, notes)) for song, notes in pairs]
    )


def as_notes(events: Iterable[Event], earlier: float = 0.0) -> list[Note]:
    """Without amplitudes, `earlier` seconds before; what then lies before the sound is cut off."""
    moved = ((max(0.0, e[0] - earlier), e[1] - earlier, e[2]) for e in events)
    return [Note(*times) for times in moved if times[0] < times[1]]


def write_sounds(songs: Sequence[SyntheticSong], folder: Path) -> list[Path]:
    """Each song as a 16-bit wav file."""
    folder.mkdir()
    paths = [folder / f"{song.name}.wav" for song in songs]
    for song, path in zip(songs, paths, strict=True):
        soundfile.write(path, song.load(), SAMPLE_RATE, subtype="PCM_16")
    return paths


def ours(
    model: VoiceToNotes, name: str, songs: Sequence[SyntheticSong], sounds: Sequence[Path]
) -> Contender:
    """The model's notes, by the Python interface that users have."""
    notes = [model.transcribe(sound) for sound in sounds]
    return Contender(name, score(songs, notes), notes)


def installed(songs: Sequence[SyntheticSong], sounds: Sequence[Path]) -> list[Contender]:
    """Those that run in this environment."""
    found = []
    for name, listen in peers.installed().items():
        notes = [listen(io.read(sound)) for sound in sounds]
        found.append(Contender(name, score(songs, notes), notes))
    return found


def peer_python() -> Path:
    """basic-pitch's own interpreter; its environment is made where it is missing or half made."""
    python, ready = PEER_VENV / "bin" / "python", PEER_VENV / "ready"
    if ready.exists():
        return python
    print(f"setting up {PEER_VENV} for {PEER_ITSELF} (once, some minutes)", file=sys.stderr)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(PEER_VENV)],
        [*pip, *PEER_NEEDS],
        [*pip, "--no-deps", PEER_ITSELF],
    ):
        _answer(command, "", "set up")
    ready.touch()
    return python


def basic_pitch(
    sounds: Sequence[Path], settings: Sequence[dict[str, float]]
) -> tuple[str, list[list[list[Event]]]]:
    """Its version, and its notes: a list per setting, of a list per sound. Raises PeerError."""
    job = {"sounds": [str(sound) for sound in sounds], "settings": list(settings)}
    answer = json.loads(_answer([str(peer_python()), str(PEER)], json.dumps(job), "run"))
    notes = [[[tuple(e) for e in sound] for sound in setting] for setting in answer["notes"]]
    return answer["version"], notes


def best_setting(folder: Path) -> tuple[dict[str, float], float]:
    """The setting and `earlier` with the best mean COnP F1 on the tuning melodies, as one voice."""
    songs = synthetic_songs(TUNING_SONGS, TUNING_SEED, voices=HELD_OUT_VOICES)
    _, found = basic_pitch(write_sounds(songs, folder / "tuning"), SETTINGS)
    reached = {}
    for (place, notes), earlier in product(enumerate(found), EARLIER):
        moved = [as_notes(one_voice(events), earlier) for events in notes]
        reached[place, earlier] = score(songs, moved).overall["onset_pitch_f1"]
    place, earlier = max(reached, key=lambda key: reached[key])
    return SETTINGS[place], earlier


def basic_pitches(
    songs: Sequence[SyntheticSong], sounds: Sequence[Path], tuned: tuple[dict[str, float], float]
) -> list[Contender]:
    """basic-pitch as it comes, and as `best_setting` tuned it for one voice. Raises PeerError."""
    setting, earlier = tuned
    version, (plain, single) = basic_pitch(sounds, [{}, setting])
    usual = [as_notes(events) for events in plain]
    best = [as_notes(one_voice(events), earlier) for events in single]
    chosen = setting | {"earlier": earlier}
    return [
        Contender(f"basic-pitch {version}, defaults", score(songs, usual), usual),
        Contender(f"basic-pitch {version}, tuned", score(songs, best), best, chosen),
    ]


def table(contenders: Sequence[Contender]) -> str:
    """F1 of each, and with which settings."""
    lines = [compared({contender.name: contender.scores for contender in contenders})]
    for contender in contenders:
        if contender.setting:
            words = ", ".join(f"{name} {value:g}" for name, value in contender.setting.items())
            lines.append(f"{contender.name}: {words}")
    return "\n".join(lines)


def draw(
    folder: Path, settings: FeatureSettings, contender: Contender, songs: Sequence[SyntheticSong]
) -> list[Path]:
    """Piano rolls of the contender's best, median and worst song by COnP F1."""
    metrics = [song.metrics for song in contender.scores.songs]
    order = sorted(range(len(songs)), key=lambda place: -metrics[place]["onset_pitch_f1"])
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    paths = []
    for word, place in chosen.items():
        song, reached = songs[place], metrics[place]
        spectrogram = extract(song.load(), settings).log_frequency.numpy()
        paths.append(folder / f"singing_{word}.png")
        title = (
            f"{word} of {len(songs)} songs: COnP {reached['onset_pitch_f1']:.2f}, "
            f"COnPOff {reached['note_f1']:.2f}; reference outlined, prediction filled"
        )
        piano_roll_png(
            paths[-1], spectrogram, settings, contender.notes[place], song.notes, title=title
        )
    return paths


def as_json(contenders: Sequence[Contender]) -> list[dict[str, Any]]:
    """A stable document of one style."""
    return [{"name": c.name, "setting": c.setting, **c.scores.as_json()} for c in contenders]


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        description="A model beside SwiftF0, pYIN and basic-pitch on unseen synthetic melodies.",
        epilog="exit codes: 0 done, 1 the goal is not reached or something failed, 2 wrong usage",
    )
    add = parser.add_argument
    add("--model", "--checkpoint", default=MODEL, metavar="NAME_OR_DIR",
        help=f"a model of the package or a model's folder (default {MODEL})")  # fmt: skip
    add("--songs", type=int, default=17, metavar="N",
        help="melodies of 10 s per style and seed (default 17)")  # fmt: skip
    add("--seeds", type=int, nargs="+", default=SEEDS, help="of the melodies")
    add("--voices", choices=VALIDATION_VOICES, help="one style alone (default: all)")
    add("--goal", action="store_true", help="exit code 1 below COnP 0.80 or COnPOff 0.60")
    add("--json", action="store_true", help="print JSON")
    add("--pictures", type=Path, metavar="DIR", help="piano rolls of the best, median, worst song")
    options = parser.parse_args()
    if options.model == MODEL and MODEL not in pretrained.names():
        print("nothing is measured: this package holds no model yet; `make model` makes it")
        return 0
    try:
        model = VoiceToNotes.from_pretrained(options.model)
    except CheckpointError as error:
        print(f"singing.py: {error}", file=sys.stderr)
        return 1
    return measure(model, options)


def measure(model: VoiceToNotes, options: argparse.Namespace) -> int:
    """All contenders on the same sounds, style by style; the exit code."""
    styles = [options.voices] if options.voices else list(VALIDATION_VOICES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            tuned = best_setting(folder)
        except PeerError as error:
            print(f"basic-pitch is left out: {error}", file=sys.stderr)
            tuned = None
        results = {style: _style(model, style, tuned, folder / style, options) for style in styles}
    if options.json:
        print(json.dumps({style: as_json(rows) for style, rows in results.items()}, indent=2))
    held_out = results.get(HELD_OUT_VOICES.name)
    if not options.goal or held_out is None:
        return 0
    reached = all(held_out[0].scores.overall[name] >= least for name, least in GOAL.items())
    goal = " and ".join(f"{NAMES[n.removesuffix('_f1')]} {least:.2f}" for n, least in GOAL.items())
    print(f"goal of {goal} {'reached' if reached else 'NOT reached'}", file=sys.stderr)
    return 0 if reached else 1


def _style(
    model: VoiceToNotes,
    style: str,
    tuned: tuple[dict[str, float], float] | None,
    folder: Path,
    options: argparse.Namespace,
) -> list[Contender]:
    """One style's contenders, ours first, and its table or picture on the way."""
    songs = [
        song
        for seed in options.seeds
        for song in synthetic_songs(options.songs, seed, voices=VALIDATION_VOICES[style])
    ]
    sounds = write_sounds(songs, folder)
    contenders = [ours(model, f"karaoke-train, {options.model}", songs, sounds)]
    contenders += installed(songs, sounds)
    if tuned is not None:
        contenders += basic_pitches(songs, sounds, tuned)
    if not options.json:
        print(f"\n{style}: {len(songs)} songs, {sum(len(song.notes) for song in songs)} notes")
        print(table(contenders), flush=True)
    if options.pictures is not None and style == HELD_OUT_VOICES.name:
        for path in draw(options.pictures, model.settings, contenders[0], songs):
            print(f"picture {path}", file=sys.stderr)
    return contenders


def _answer(command: Sequence[str], question: str, doing: str) -> str:
    """A command's output. Raises PeerError with the end of what it complained of."""
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise PeerError(f"basic-pitch could not be {doing}: {' '.join(command)}\n{last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
