from __future__ import annotations

import errno
import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import WhisperConfig, WhisperModel

from karaoke_train.audio.features import FeatureSettings
from karaoke_train.audio.units import MAX_FRAMES
from karaoke_train.model import checkpoints, pretrained, whisper
from karaoke_train.model.build import build_model
from karaoke_train.model.checkpoints import CheckpointError, load_model, save_model
from karaoke_train.model.model import (
    FORMAT,
    VoiceToNotesConfig,
    VoiceToNotesModel,
    VoiceToNotesOutput,
)
from karaoke_train.model.whisper import EncoderError, checksum, load_encoder
from karaoke_train.settings import TrainSettings

SETTINGS = FeatureSettings()
LOGITS = ("onset", "offset", "voicing", "pitch")


def inputs(frames: int, lengths: list[int]) -> dict[str, Any]:
    torch.manual_seed(1)
    count = len(lengths)
    return {
        "mel": torch.randn(count, 80, 2 * frames),
        "log_frequency": torch.randn(count, SETTINGS.frequency_bins, frames),
        "lengths": torch.tensor(lengths),
    }


def test_output_has_one_frame_each_20_ms(tiny_model: VoiceToNotesModel) -> None:
    output = tiny_model(**inputs(50, [50, 50]))
    assert output.onset.shape == (2, 50)
    assert output.pitch.shape == (2, 50, SETTINGS.pitch_classes)


def test_other_segments_of_the_batch_change_nothing(tiny_model: VoiceToNotesModel) -> None:
    batch = inputs(80, [80, 50])
    together: VoiceToNotesOutput = tiny_model(**batch)
    alone = tiny_model(
        mel=batch["mel"][1:, :, :100],
        log_frequency=batch["log_frequency"][1:, :, :50],
        lengths=torch.tensor([50]),
    )
    for name in LOGITS:
        # The last frames see the padding through the convolutions, not through attention.
        torch.testing.assert_close(together[name][1:, :38], alone[name][:, :38], atol=1e-5, rtol=0)


def test_padding_is_not_attended_to(tiny_model: VoiceToNotesModel) -> None:
    batch = inputs(80, [80, 50])
    before = tiny_model(**batch)
    batch["mel"][1, :, 110:] += 9.0
    after = tiny_model(**batch)
    torch.testing.assert_close(before.onset[1, :38], after.onset[1, :38])


def test_segment_over_30_seconds_is_refused_in_words(tiny_model: VoiceToNotesModel) -> None:
    with pytest.raises(ValueError, match=f"longer than the encoder's {MAX_FRAMES}"):
        tiny_model(**inputs(MAX_FRAMES + 1, [MAX_FRAMES + 1]))


def test_untrained_encoder_states_equal_whispers_own(tiny_config: VoiceToNotesConfig) -> None:
    """Cropped positions and the pitch contour change nothing before training."""
    model = VoiceToNotesModel(tiny_config).eval()
    batch = inputs(MAX_FRAMES, [MAX_FRAMES])
    with torch.no_grad():
        assert model.salience is not None
        embedded = model._embed(batch["mel"], model.salience(batch["log_frequency"]))
        ours = model._attend(embedded, batch["lengths"])
        theirs = model.encoder(batch["mel"]).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_pitch_front_end_moves_with_the_pitch(tiny_model: VoiceToNotesModel) -> None:
    assert tiny_model.salience is not None
    spectrogram = inputs(20, [20])["log_frequency"]
    shifted = torch.roll(spectrogram, 6, dims=1)
    a, b = tiny_model.salience(spectrogram), tiny_model.salience(shifted)
    torch.testing.assert_close(a[..., 20:100], b[..., 26:106], atol=1e-5, rtol=1e-4)


def test_model_works_without_the_pitch_front_end(tiny_config: VoiceToNotesConfig) -> None:
    tiny_config.pitch_frontend = False
    output = VoiceToNotesModel(tiny_config).eval()(**inputs(20, [20]))
    assert output.pitch.shape == (1, 20, SETTINGS.pitch_classes)


def test_freezing_leaves_the_last_layers_and_the_heads(tiny_model: VoiceToNotesModel) -> None:
    tiny_model.freeze_encoder(unfreeze_layers=1)
    trained = {name for name, p in tiny_model.named_parameters() if p.requires_grad}
    assert not any(n.startswith(("encoder.conv", "encoder.layers.0")) for n in trained)
    assert any(n.startswith("encoder.layers.1") for n in trained)
    assert any(n.startswith("heads") for n in trained)
    with pytest.raises(ValueError, match="has 2 layers, not 3"):
        tiny_model.freeze_encoder(unfreeze_layers=3)


def test_saved_model_comes_back_with_its_preprocessing(
    tiny_model: VoiceToNotesModel, tmp_path: Path
) -> None:
    tiny_model.config.features["midi_min"] = 36
    save_model(tiny_model, tmp_path / "best")
    again = load_model(tmp_path / "best")
    batch = inputs(30, [30])
    torch.testing.assert_close(tiny_model(**batch).pitch, again(**batch).pitch)
    assert again.config.feature_settings == tiny_model.config.feature_settings
    assert load_model(tmp_path).config.encoder.d_model == 16  # a run's folder means its best
    assert [p.name for p in tmp_path.iterdir()] == ["best"]


def test_a_checkpoint_with_the_older_names_of_its_features_still_loads(
    tiny_model: VoiceToNotesModel, tmp_path: Path
) -> None:
    save_model(tiny_model, tmp_path / "best")
    path = tmp_path / "best" / "config.json"
    config = json.loads(path.read_text())
    config["features"] = {"mel_bands": 80, "lowest": 36, "highest": 93, "bins": 3, "below": 12}
    path.write_text(json.dumps(config | {"format": 1}))
    again = load_model(tmp_path)
    assert again.config.feature_settings == tiny_model.config.feature_settings
    batch = inputs(30, [30])
    torch.testing.assert_close(tiny_model(**batch).pitch, again(**batch).pitch)
    save_model(again, tmp_path / "copy")  # under today's names, and says so
    assert json.loads((tmp_path / "copy" / "config.json").read_text())["format"] == FORMAT
    assert load_model(tmp_path / "copy").config.feature_settings == SETTINGS


def test_older_names_of_features_keep_their_values() -> None:
    older = {"lowest": 40, "highest": 90, "bins": 5, "below": 7}
    assert VoiceToNotesConfig(features=older).feature_settings == FeatureSettings(
        midi_min=40, midi_max=90, bins_per_semitone=5, semitones_below=7
    )


def test_the_weights_keep_the_names_that_saved_checkpoints_have(
    tiny_model: VoiceToNotesModel,
) -> None:
    names = set(tiny_model.state_dict())
    parts = {name.split(".")[0] for name in names}
    assert parts == {"encoder", "salience", "contour", "heads"}
    for name in ("salience.mix.weight", "salience.out.bias", "contour.weight", "heads.pitch.bias"):
        assert name in names


def test_checkpoint_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no model"):
        load_model(tmp_path)


def test_checkpoint_that_may_not_be_read_is_not_called_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> None:  # root, as whom tests may run, reads everything
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(checkpoints, "read_json", refused)
    with pytest.raises(CheckpointError, match=r"config.json can't be read: Permission denied\."):
        load_model(tmp_path)


def test_checkpoint_of_another_kind_is_named(tmp_path: Path) -> None:
    WhisperConfig().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="of kind 'whisper'"):
        load_model(tmp_path)


def test_checkpoint_of_another_version_is_named(
    tiny_model: VoiceToNotesModel, tmp_path: Path
) -> None:
    tiny_model.config.format = 99
    tiny_model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"format 99, this version .* reads 1 to 3"):
        load_model(tmp_path)


def test_torn_weights_are_named(tiny_model: VoiceToNotesModel, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="can't be loaded"):
        load_model(tmp_path)


def test_weights_of_another_config_are_named(
    tiny_model: VoiceToNotesModel, tiny_config: VoiceToNotesConfig, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path)
    tiny_config.pitch_frontend = False
    tiny_config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="belong to its config"):
        load_model(tmp_path)


def tiny_whisper(bands: int = 80) -> WhisperModel:
    torch.manual_seed(3)
    return WhisperModel(
        WhisperConfig(
            vocab_size=100,
            num_mel_bins=bands,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            begin_suppress_tokens=None,
        )
    )


@pytest.mark.parametrize("bands", [80, 128])
def test_any_whisper_checkpoint_becomes_the_encoder(tmp_path: Path, bands: int) -> None:
    whisper = tiny_whisper(bands)
    whisper.half().save_pretrained(tmp_path)  # as large-v3 is published
    whisper.float()
    model = build_model(TrainSettings(encoder=str(tmp_path), offline=True))
    assert model.encoder.conv1.weight.dtype == torch.float32
    theirs = whisper.get_encoder().state_dict()
    for name, value in model.encoder.state_dict().items():
        torch.testing.assert_close(value, theirs[name])
    assert model.config.feature_settings.mel_bands == bands


@pytest.fixture
def whisper_folder(tmp_path: Path) -> Path:
    tiny_whisper().save_pretrained(tmp_path / "whisper")
    return tmp_path / "whisper"


def frozen(folder: Path, **settings: Any) -> VoiceToNotesModel:
    asked = {"freeze_encoder": True, "offline": True} | settings
    return build_model(TrainSettings(encoder=str(folder), **asked))


def test_around_a_frozen_encoder_heads_alone_are_saved_and_come_back_whole(
    tmp_path: Path, whisper_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = frozen(whisper_folder)
    save_model(model, tmp_path / "best")
    saved = load_file(tmp_path / "best" / "model.safetensors")
    assert saved
    assert not any(name.startswith("encoder.") for name in saved)
    said: list[logging.LogRecord] = []
    for name in ("transformers", *logging.root.manager.loggerDict):
        if name.partition(".")[0] == "transformers":
            monkeypatch.setattr(logging.getLogger(name), "handle", said.append)
    again = load_model(tmp_path / "best")
    assert said == []  # no table of what is missing: it is elsewhere
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_a_whisper_with_adapters_starts_as_itself_and_only_they_and_the_heads_are_trained(
    whisper_folder: Path,
) -> None:
    model = frozen(whisper_folder, freeze_encoder=False, adapter_width=4).eval()
    batch = inputs(30, [30])
    without = VoiceToNotesModel(model.config).eval()
    without.load_state_dict(model.state_dict())
    without.adapters = nn.ModuleList()
    torch.testing.assert_close(model(**batch).pitch, without(**batch).pitch)
    trained = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"adapters", "contour", "heads", "salience"}
    assert not model.has_fixed_states  # the contour goes through the encoder


def test_adapters_are_saved_with_the_heads_and_not_with_the_encoder(
    tmp_path: Path, whisper_folder: Path
) -> None:
    model = frozen(whisper_folder, freeze_encoder=False, adapter_width=4).eval()
    for adapter in model.adapters:
        nn.init.normal_(adapter.up.weight)
    save_model(model, tmp_path / "best")
    saved = load_file(tmp_path / "best" / "model.safetensors")
    assert {name.partition(".")[0] for name in saved} == {
        "adapters",
        "contour",
        "heads",
        "salience",
    }
    again = load_model(tmp_path / "best")
    batch = inputs(30, [30])
    torch.testing.assert_close(again(**batch).onset, model(**batch).onset)
    save_model(
        build_model(TrainSettings(init=str(tmp_path / "best"), freeze_encoder=True)),
        tmp_path / "further",
    )
    assert not any(
        n.startswith("encoder.") for n in load_file(tmp_path / "further" / "model.safetensors")
    )


def test_a_training_starts_from_heads_whose_whisper_is_elsewhere_now(
    tmp_path: Path, whisper_folder: Path
) -> None:
    save_model(frozen(whisper_folder), tmp_path / "best")
    moved = shutil.move(whisper_folder, tmp_path / "moved")
    start = {"init": str(tmp_path / "best"), "freeze_encoder": True}
    with pytest.raises(CheckpointError, match="Give --encoder PATH"):
        build_model(TrainSettings(**start))  # type: ignore[arg-type]
    save_model(build_model(TrainSettings(**start, encoder=moved)), tmp_path / "next")  # type: ignore[arg-type]
    assert load_model(tmp_path / "next").config.encoder_source == str(tmp_path / "moved")


@pytest.mark.parametrize("how", [{"full_checkpoint": True}, {"unfreeze_layers": 1}])
def test_an_encoder_that_is_asked_for_or_trained_is_saved_too(
    how: dict[str, Any], tmp_path: Path, whisper_folder: Path
) -> None:
    save_model(frozen(whisper_folder, **how), tmp_path / "best")
    shutil.rmtree(whisper_folder)
    assert load_model(tmp_path / "best").config.encoder_source == ""


def test_training_the_encoder_of_heads_saved_alone_makes_it_the_models_own(
    tmp_path: Path, whisper_folder: Path
) -> None:
    save_model(frozen(whisper_folder), tmp_path / "heads")
    save_model(build_model(TrainSettings(init=str(tmp_path / "heads"))), tmp_path / "all")
    shutil.rmtree(whisper_folder)
    assert load_model(tmp_path / "all").config.encoder_source == ""


def test_another_encoder_under_the_same_name_is_refused(
    tmp_path: Path, whisper_folder: Path
) -> None:
    save_model(frozen(whisper_folder), tmp_path / "best")
    other = tiny_whisper()
    other.encoder.conv1.weight.data[0] += 0.01
    other.save_pretrained(whisper_folder)
    with pytest.raises(CheckpointError, match=r"has other weights than.*SHA-256"):
        load_model(tmp_path / "best")


def test_an_encoder_that_is_gone_is_named_with_the_way_out(
    tmp_path: Path, whisper_folder: Path
) -> None:
    save_model(frozen(whisper_folder), tmp_path / "best")
    moved = whisper_folder.rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match=r"(?s)there is no folder .*whisper.*--encoder PATH"):
        load_model(tmp_path / "best")
    model = load_model(tmp_path / "best", encoder=str(moved))
    assert checksum(model.encoder) == model.config.encoder_checksum


@pytest.mark.parametrize(("cached", "expected"), [(True, [True]), (False, [True, False])])
def test_an_encoder_that_is_in_the_cache_is_asked_for_nowhere(
    tmp_path: Path,
    whisper_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    cached: bool,
    expected: list[bool],
) -> None:
    save_model(frozen(whisper_folder), tmp_path / "best")
    asked: list[bool] = []

    def load(name: str, *, offline: bool = False) -> object:
        asked.append(offline)
        if offline and not cached:
            raise EncoderError("not in the cache")
        return load_encoder(name, offline=offline)

    monkeypatch.setattr(checkpoints, "load_encoder", load)
    load_model(tmp_path / "best")
    assert asked == expected


@pytest.mark.parametrize("cached", [True, False])
def test_a_hub_that_can_not_be_reached_is_asked_once_and_then_the_cache(
    tmp_path: Path, whisper_folder: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    asked: list[str] = []

    def unreachable(url: str, **_: object) -> None:
        asked.append(url)
        raise ConnectionError("Temporary failure in name resolution")

    monkeypatch.setattr(whisper, "get_hf_file_metadata", unreachable)
    looked_at: list[bool] = []

    def cache(name: str, *, local_files_only: bool) -> Any:
        looked_at.append(local_files_only)
        if not cached:
            raise OSError("We couldn't connect")
        return WhisperConfig.get_config_dict(whisper_folder)

    monkeypatch.setattr(whisper, "WhisperConfig", SimpleNamespace(get_config_dict=cache))
    load = WhisperModel.from_pretrained
    monkeypatch.setattr(
        whisper,
        "PretrainedWhisper",
        SimpleNamespace(from_pretrained=lambda _, *, revision, **how: load(whisper_folder, **how)),
    )
    monkeypatch.setattr(whisper, "_adapter_of", lambda *_, **__: "")
    if cached:
        assert checksum(load_encoder("openai/none")) == checksum(load_encoder(str(whisper_folder)))
    else:
        with pytest.raises(EncoderError, match=r"(?s)not downloaded.*name resolution.*--init"):
            load_encoder("openai/none")
    assert looked_at[0] is True
    [url] = asked
    assert url.endswith("openai/none/resolve/main/config.json")


def test_a_copy_of_the_encoder_in_half_floats_is_the_same_encoder(
    tmp_path: Path, whisper_folder: Path
) -> None:
    published = tiny_whisper().half()  # Whisper was published so; the hub holds it as float32
    published.float().save_pretrained(whisper_folder)
    model = frozen(whisper_folder)
    save_model(model, tmp_path / "best")
    copy = published.half()
    copy.encoder.embed_positions.weight.data += 3e-4  # computed by whoever copies
    copy.save_pretrained(tmp_path / "halves")
    assert load_file(tmp_path / "halves" / "model.safetensors")["encoder.conv1.weight"].dtype == (
        torch.float16
    )
    again = load_model(tmp_path / "best", encoder=str(tmp_path / "halves"))
    assert again.encoder.conv1.weight.dtype == torch.float32
    assert torch.equal(again.encoder.conv1.weight, model.encoder.conv1.weight)


def test_an_encoder_for_a_model_that_has_its_own_is_refused(
    tmp_path: Path, tiny_model: VoiceToNotesModel, whisper_folder: Path
) -> None:
    save_model(tiny_model, tmp_path / "best")
    with pytest.raises(CheckpointError, match="has its encoder in it: leave --encoder out"):
        load_model(tmp_path / "best", encoder=str(whisper_folder))


def test_a_model_names_its_encoder_once_and_no_folder_beside_it(
    tmp_path: Path, whisper_folder: Path
) -> None:
    save_model(frozen(whisper_folder), tmp_path / "best")
    text = (tmp_path / "best" / "config.json").read_text()
    assert text.count(str(whisper_folder)) == 1


def test_own_model_as_encoder_is_refused_with_the_flag_that_takes_it(
    tmp_path: Path, tiny_model: VoiceToNotesModel
) -> None:
    save_model(tiny_model, tmp_path / "best")
    settings = TrainSettings(encoder=str(tmp_path / "best"), offline=True)
    with pytest.raises(EncoderError, match=r"would leave behind.*--init .*best"):
        build_model(settings)


def test_a_folder_without_a_whisper_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"holds no Whisper: its config.json is missing"):
        build_model(TrainSettings(encoder=str(tmp_path), offline=True))


def test_a_new_training_starts_from_all_of_an_old_model(
    tmp_path: Path, tiny_model: VoiceToNotesModel
) -> None:
    save_model(tiny_model, tmp_path / "run" / "best")
    started = build_model(TrainSettings(init=str(tmp_path / "run"), seed=7))
    for name, weight in tiny_model.state_dict().items():
        assert torch.equal(started.state_dict()[name], weight), name
    frozen = build_model(TrainSettings(init=str(tmp_path / "run"), freeze_encoder=True))
    assert not any(p.requires_grad for p in frozen.encoder.parameters())
    assert all(p.requires_grad for p in frozen.heads.parameters())


def test_a_model_of_the_package_is_found_by_its_name_unless_a_folder_has_it(
    tmp_path: Path, tiny_model: VoiceToNotesModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    save_model(tiny_model, tmp_path / "package" / "tiny")
    assert pretrained.names() == ["tiny"]
    assert load_model("tiny").config.encoder.d_model == 16
    (tmp_path / "tiny").mkdir()  # logs of a run of that name, say: no model
    assert load_model("tiny").config.encoder.d_model == 16
    with pytest.raises(CheckpointError, match=r"large holds no model.*in this package: tiny"):
        load_model("large")
    save_model(tiny_model, tmp_path / "large" / "best")
    assert load_model("large").config.encoder.d_model == 16


def test_an_encoder_that_offline_forbids_to_download_is_not_said_to_be_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str, **how: Any) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files")

    monkeypatch.setattr(whisper.WhisperConfig, "get_config_dict", absent)
    monkeypatch.setattr(whisper, "get_hf_file_metadata", lambda *_, **__: None)  # the hub answers
    with pytest.raises(EncoderError, match=r"(?s)--offline downloads nothing.*--init small"):
        load_encoder("openai/whisper-base", offline=True)
    with pytest.raises(EncoderError, match="couldn't connect"):
        load_encoder("openai/whisper-base")


def test_missing_encoder_names_the_ways_out(tmp_path: Path) -> None:
    settings = TrainSettings(encoder=str(tmp_path / "nothing"), offline=True)
    with pytest.raises(EncoderError, match=r"(?s)--encoder PATH.*--fast_dev"):
        build_model(settings)
