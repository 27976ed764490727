"""A checkpoint's notes beside Spotify's basic-pitch, on the same 50 unseen synthetic melodies.

    python benchmarks/singing.py --checkpoint checkpoints/…/best [--goal] [--json] [--pictures DIR]

Scores are mir_eval.transcription's: onsets within 50 ms (COn), pitch within 50 cents besides
(COnP), offsets within max(50 ms, 20 %) besides (COnPOff); F1 as the mean over songs, and of all
notes pooled. The melodies come from a seed that nothing was trained or tuned on, and are sung by
HELD_OUT_VOICES, whose vowels, tracts, sources and vibrato lie outside of the training voices'.
Each contender reads the same 16-bit wav files. The first run makes `.venv-basic-pitch`, since
basic-pitch 0.4.0 asks for a TensorFlow that does not go with numpy 2; it carries the same network
as ONNX, which runs without. Without a checkpoint nothing is measured.

How fair that is. For basic-pitch: its defaults are shown, and beside them settings for one voice
that were searched on 20 other melodies by the very voices of the test, where our decoder's
thresholds were chosen, too. It gives whole semitones, and the singers are at most 20 cents
off these, well within the 50 allowed. Against it: it has never heard this synthesiser, while ours
was trained on the same generator with other voices, melodies and recordings drawn alike, and on
the same rule for where a sung note begins. It is polyphonic and made for any instrument. So the
table says that training worked, not who is better on recordings of people: for that, run
`karaoke-train evaluate` on a set of such recordings.
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

from karaoke_train.audio.features import extract
from karaoke_train.audio.units import SAMPLE_RATE
from karaoke_train.inference.evaluate import NAMES, SCORES, Evaluation, SongScore
from karaoke_train.inference.metrics import count_notes
from karaoke_train.inference.plot import piano_roll_png
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.model.checkpoints import CheckpointError
from karaoke_train.notes import Note
from karaoke_train.synth import HELD_OUT_VOICES, synthetic_songs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from karaoke_train.audio.features import FeatureSettings
    from karaoke_train.synth import SyntheticSong

SEED = 20_231_107  # training draws from 42 and 43, thresholds were chosen on 777
TUNING_SEED, TUNING_SONGS = 777, 20
GOAL = {"onset_pitch_f1": 0.80, "note_f1": 0.60}  # means over songs

RUN = "python benchmarks/singing.py --checkpoint checkpoints/…/best"

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


def ours(model: VoiceToNotes, songs: Sequence[SyntheticSong], sounds: Sequence[Path]) -> Contender:
    """The checkpoint's notes, by the Python interface that users have."""
    notes = [model.transcribe(sound) for sound in sounds]
    return Contender("karaoke-train", score(songs, notes), notes)


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


def peers(songs: Sequence[SyntheticSong], sounds: Sequence[Path], folder: Path) -> list[Contender]:
    """basic-pitch as it comes, and at its best for one voice. Raises PeerError."""
    setting, earlier = best_setting(folder)
    version, (plain, single) = basic_pitch(sounds, [{}, setting])
    usual = [as_notes(events) for events in plain]
    best = [as_notes(one_voice(events), earlier) for events in single]
    chosen = setting | {"earlier": earlier}
    return [
        Contender(f"basic-pitch {version}, defaults", score(songs, usual), usual),
        Contender(f"basic-pitch {version}, tuned", score(songs, best), best, chosen),
    ]


def table(contenders: Sequence[Contender]) -> str:
    """F1, precision and recall, as the mean over songs and pooled."""
    width = max(len(contender.name) for contender in contenders)
    head = "".join(f"  {NAMES[name]:>7} {'P':>5} {'R':>5}" for name in SCORES)
    lines = [f"{'':{width}}  {'':8}  {'notes':>6} {'found':>6}{head}"]
    for contender in contenders:
        counts = [song.counts for song in contender.scores.songs]
        sizes = f"{sum(c.reference for c in counts):>6} {sum(c.estimated for c in counts):>6}"
        for kind, metrics in (
            ("mean", contender.scores.overall),
            ("pooled", contender.scores.pooled),
        ):
            label = contender.name if kind == "mean" else ""
            lines.append(f"{label:{width}}  {kind:8}  {sizes}{_cells(metrics)}")
    for contender in contenders:
        if contender.setting:
            words = ", ".join(f"{name} {value:g}" for name, value in contender.setting.items())
            lines.append(f"\n{contender.name.strip()}: {words}")
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


def as_json(contenders: Sequence[Contender], seed: int, reached: bool) -> dict[str, Any]:
    """A stable document."""
    rows = [
        {"name": c.name.strip(), "setting": c.setting, **c.scores.as_json()} for c in contenders
    ]
    return {"seed": seed, "goal": GOAL, "goal_reached": reached, "contenders": rows}


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        description="A checkpoint beside basic-pitch on unseen synthetic melodies.",
        epilog="exit codes: 0 done, 1 the goal is not reached or something failed, 2 wrong usage",
    )
    add = parser.add_argument
    add("--checkpoint", metavar="C", help="a model's folder; without one nothing is measured")
    add("--songs", type=int, default=50, metavar="N", help="melodies of 10 s (default 50)")
    add("--seed", type=int, default=SEED, help=f"of the melodies (default {SEED})")
    add("--goal", action="store_true", help="exit code 1 below COnP 0.80 or COnPOff 0.60")
    add("--json", action="store_true", help="print JSON")
    add("--pictures", type=Path, metavar="DIR", help="piano rolls of the best, median, worst song")
    options = parser.parse_args()
    if options.checkpoint is None:
        print(f"nothing is measured without a checkpoint (docs/learning.md makes one): {RUN}")
        return 0
    try:
        model = VoiceToNotes.from_pretrained(options.checkpoint)
    except CheckpointError as error:
        print(f"singing.py: {error}", file=sys.stderr)
        return 1
    return measure(model, options)


def measure(model: VoiceToNotes, options: argparse.Namespace) -> int:
    """All contenders on the same sounds; the exit code."""
    songs = synthetic_songs(options.songs, options.seed, voices=HELD_OUT_VOICES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sounds = write_sounds(songs, folder / "songs")
        own = ours(model, songs, sounds)
        contenders = [own]
        try:
            contenders += peers(songs, sounds, folder)
        except PeerError as error:
            print(f"basic-pitch is left out: {error}", file=sys.stderr)
    if options.pictures is not None:
        for path in draw(options.pictures, model.settings, own, songs):
            print(f"picture {path}", file=sys.stderr)
    reached = all(own.scores.overall[name] >= least for name, least in GOAL.items())
    if options.json:
        print(json.dumps(as_json(contenders, options.seed, reached), indent=2))
    else:
        print(table(contenders))
        goal = " and ".join(
            f"{NAMES[n.removesuffix('_f1')]} {least:.2f}" for n, least in GOAL.items()
        )
        print(f"\ngoal of {goal} {'reached' if reached else 'NOT reached'}")
    return 1 if options.goal and not reached else 0


def _cells(metrics: dict[str, float]) -> str:
    triples = [[metrics[f"{s}_{kind}"] for kind in ("f1", "precision", "recall")] for s in SCORES]
    return "".join(f"  {f1:7.3f} {p:5.2f} {r:5.2f}" for f1, p, r in triples)


def _answer(command: Sequence[str], question: str, doing: str) -> str:
    """A command's output. Raises PeerError with the end of what it complained of."""
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise PeerError(f"basic-pitch could not be {doing}: {' '.join(command)}\n{last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
