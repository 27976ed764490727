"""Sounds and settings in, basic-pitch's notes out: run by singing.py in an environment of its own.

    .venv-basic-pitch/bin/python benchmarks/peers/basic_pitch_notes.py < job.json > notes.json

The job is {"sounds": [paths], "settings": [keyword arguments of basic_pitch's predict, …]}. The
output is {"version": …, "notes": [a list per setting, of a list per sound, of [onset, offset,
pitch, amplitude]]}. The network runs once per sound; its output becomes notes once per setting,
by the same calls and with the same defaults as `basic_pitch.inference.predict`.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from importlib.metadata import version
from typing import Any

from basic_pitch import ICASSP_2022_MODEL_PATH, inference
from basic_pitch.constants import AUDIO_SAMPLE_RATE, FFT_HOP
from basic_pitch.note_creation import model_output_to_notes

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(inference.predict).parameters.items()
    if parameter.default is not parameter.empty
}


def notes(output: dict[str, Any], setting: dict[str, Any]) -> list[list[float]]:
    """One sound's notes as [onset in s, offset in s, MIDI pitch, amplitude], by their onsets."""
    wanted = DEFAULTS | setting
    shortest = round(wanted["minimum_note_length"] / 1000 * AUDIO_SAMPLE_RATE / FFT_HOP)
    _, events = model_output_to_notes(
        output,
        onset_thresh=wanted["onset_threshold"],
        frame_thresh=wanted["frame_threshold"],
        min_note_len=shortest,
        min_freq=wanted["minimum_frequency"],
        max_freq=wanted["maximum_frequency"],
        multiple_pitch_bends=wanted["multiple_pitch_bends"],
        melodia_trick=wanted["melodia_trick"],
        midi_tempo=wanted["midi_tempo"],
    )
    return sorted([float(value) for value in event[:4]] for event in events)


def main() -> None:
    """Do the job on standard input."""
    job = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):  # it prints one line per file
        model = inference.Model(ICASSP_2022_MODEL_PATH)
        outputs = [inference.run_inference(sound, model) for sound in job["sounds"]]
        found = [[notes(output, setting) for output in outputs] for setting in job["settings"]]
    json.dump({"version": version("basic-pitch"), "notes": found}, sys.stdout)


if __name__ == "__main__":
    main()
