"""`hf_generate` on tiny checkpoints in the hub's layout: the paper's decoding, chat templates, batches, confidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from halonerf.distillers.hf_generate import HfGenerate
from halonerf.distillers.llm.prompts import Prompt, as_text
from halonerf.errors import BadInput, MissingArtifact
from halonerf.factory import build
from halonerf.types import ImageRecord
from helpers.places import CONF
from helpers.tiny_language import write_llama, write_t5

GROUP = CONF / "distiller"
RECORDS = [
    ImageRecord("1.jpg", "A minster", "West_portal.jpg", "The west portal"),
    ImageRecord("2.jpg", "A minster", "2.jpg", "A view of a dome, a long one, from a tower in the town nearby"),
    ImageRecord("3.jpg"),
    ImageRecord("4.jpg", "A minster", "4.jpg", "Filename: Caption: labels portal"),
]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knows two answers by heart, one of them with a direction."""
    prompt = Prompt("paper", 1000)
    asked = [as_text(prompt.render(prompt.fields(record))) for record in RECORDS[:3]]
    answers = ("North Portal", "undercroft", "Unknown feature")
    return write_t5(tmp_path_factory.mktemp("t5"), list(zip(asked, answers, strict=True)), steps=80)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama"))


def paper(weights: Path) -> HfGenerate:
    config = OmegaConf.to_container(OmegaConf.load(GROUP / "flan_t5_paper.yaml"))
    assert isinstance(config, dict)
    return build({**config, "weights": str(weights), "device": "cpu"})


@pytest.mark.usefixtures("one_thread")
def test_the_papers_answers_are_cleaned_as_in_the_paper(t5: Path):
    labels = paper(t5).distill(RECORDS[:3])
    assert [label.label for label in labels] == ["portal", "undercroft", ""]
    assert labels[0].evidence == "portal"
    assert all(label.confidence > 0.3 for label in labels[:2])
    assert labels[2].confidence == 0.0


@pytest.mark.usefixtures("one_thread")
def test_the_paper_preset_decodes_as_the_paper_does(t5: Path):
    """Against transformers' own `generate` with the paper's settings, one record at a time."""
    one = paper(t5)
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(t5), AutoTokenizer.from_pretrained(t5)
    prompts = [one.prompt.render(one.prompt.fields(record)) for record in RECORDS]
    replies = dict(one.query(prompts))
    for place, messages in enumerate(prompts):
        inputs = tokenizer(as_text(messages), return_tensors="pt")
        made = model.generate(
            input_ids=inputs.input_ids, num_beams=4, length_penalty=0.0, early_stopping=True, max_new_tokens=20,
            do_sample=False,
        )  # fmt: skip
        assert replies[place].text == tokenizer.decode(made[0], skip_special_tokens=True).strip()
        assert replies[place].tokens_in == inputs.input_ids.shape[1]
        assert replies[place].tokens_out <= 20


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("beams", [1, 3])
def test_confidence_is_the_mean_probability_of_the_tokens(t5: Path, beams: int):
    one = HfGenerate(str(t5), "paper", "paper", labels=1, beams=beams, tokens=20, device="cpu")
    messages = one.prompt.render(one.prompt.fields(RECORDS[3]))
    replies = dict(one.query([messages, one.prompt.render(one.prompt.fields(RECORDS[1]))]))
    inputs = one.tokenizer(as_text(messages), return_tensors="pt").input_ids
    answer = one.tokenizer(replies[0].text, return_tensors="pt").input_ids
    with torch.no_grad():
        loss = one.network(input_ids=inputs, labels=answer).loss
    assert replies[0].tokens_out == answer.shape[1]
    assert replies[0].confidence == pytest.approx(float((-loss).exp()), rel=1e-3)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("prompt", ["structured", "short"])
def test_chat_models_get_their_chat_template(llama: Path, prompt: str):
    one = HfGenerate(str(llama), prompt=prompt, answers="json", tokens=8, device="cpu")
    messages = one.prompt.render(one.prompt.fields(RECORDS[0]))
    text = one._text(messages)
    assert text == (f"<|system|>{messages[0]['content']}<|end|><|user|>{messages[1]['content']}<|end|><|assistant|>")
    reply = dict(one.query([messages]))[0]
    assert reply.tokens_in == len(one.tokenizer(text, add_special_tokens=False).input_ids)
    assert reply.tokens_out <= 8


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("chat", [True, False])
def test_the_batch_size_does_not_change_the_answers(tmp_path: Path, chat: bool):
    folder = write_llama(tmp_path / "llama", chat=chat)
    answers = [
        [reply for _, reply in sorted(one.query([one.prompt.render(one.prompt.fields(record)) for record in RECORDS]))]
        for one in (HfGenerate(str(folder), "short", "plain", tokens=6, batch=b, device="cpu") for b in (1, 4))
    ]
    assert [reply.text for reply in answers[0]] == [reply.text for reply in answers[1]]
    assert any(reply.text for reply in answers[0])
    for alone, together in zip(*answers, strict=True):
        assert alone.confidence == pytest.approx(together.confidence, rel=1e-3)


def test_templates_without_a_system_role_get_one_message(llama: Path):
    one = HfGenerate(str(llama), device="cpu")
    one.tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
        "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
    )
    messages = one.prompt.render(one.prompt.fields(RECORDS[0]))
    assert one._text(messages) == "[user]" + as_text(messages)


@pytest.mark.usefixtures("one_thread")
def test_a_random_model_gives_no_labels_but_a_trace(llama: Path, tmp_path: Path):
    one = HfGenerate(str(llama), tokens=12, device="cpu")
    one.open(tmp_path)
    labels = one.distill(RECORDS)
    assert [label.image_id for label in labels] == [record.image_id for record in RECORDS]
    figures = one.figures()
    assert sum(figures["failures"].values()) == figures["unknown"] == 4
    assert figures["tokens_out"] > 0
    trace = [json.loads(line) for line in (tmp_path / "responses.jsonl").read_text().splitlines()]
    assert all(line["failure"] and line["model"] == str(llama) for line in trace)
    again = HfGenerate(str(llama), tokens=12, device="cpu")
    again.open(tmp_path)
    assert again.distill(RECORDS) == labels
    assert again.figures()["cache_hits"] == 4


def test_missing_weights_are_reported():
    with pytest.raises(MissingArtifact, match="hf download /nowhere/at/all"):
        HfGenerate("/nowhere/at/all")


def test_partial_weights_are_reported(llama: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = write_llama(tmp_path / "half")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: t for name, t in tensors.items() if "layers.1" not in name},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(BadInput, match="missing"):
        HfGenerate(str(folder))


def test_a_model_that_does_not_generate_text_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(BadInput, match="generates text"):
        HfGenerate(str(tmp_path))
