# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Model cards: the committed ones, the figures in them, and what a card of other figures says."""

import ast
import json
import re
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from univs_hf import UniVSConfig, UniVSForVideoSegmentation
from univs_hf.evaluation.registry import BENCHMARKS, benchmark_class
from univs_hf.publishing.measured_scores import MeasuredScores, read_scores
from univs_hf.publishing.model_card import measured_figures, render_model_card, reported_figures
from univs_hf.publishing.model_facts import (
    CardFacts,
    Licence,
    ReportedTable,
    benchmark_facts,
    card_facts,
    card_names,
)
from univs_hf.publishing.render_cards import main, rendered_cards
from univs_hf.publishing.upload_plan import check_card

RELEASED = ("resnet50", "swin-tiny", "swin-base", "swin-large")
# Rows of the tables in specs/paper_results.md by card.
SPECIFICATION_ROWS = {"resnet50": "ResNet-50", "swin-tiny": "Swin-T", "swin-base": "Swin-B", "swin-large": "Swin-L"}


def scores_file(path: Path, **changes) -> Path:
    """What `univs evaluate` writes, without the lists of videos."""
    content = {
        "benchmark": "davis17",
        "split": "val",
        "model": "somewhere/model",
        "dtype": "float32",
        "settings": {"shortest_edge": 480},
        "num_videos": 30,
        "table": {"J&F": "71.2", "J": "68.9", "F": "-"},
        "figures": {"J&F-Mean": 0.7123, "J-Mean": 0.689},
        "versions": {"univs-hf": "0.1.0", "torch": "2.13.0"},
    }
    path.write_text(json.dumps({**content, **changes}))
    return path


# --- the committed cards


def test_committed_cards_are_what_the_facts_say(project_root: Path) -> None:
    cards = rendered_cards(project_root / "model_cards")
    assert set(cards) == {f"{name}.md" for name in (*RELEASED, "tiny-shapes")}
    for name, text in cards.items():
        committed = (project_root / "model_cards" / name).read_text(encoding="utf-8")
        assert committed == text, f"{name}: run `python -m univs_hf.publishing.render_cards model_cards`"


@pytest.mark.parametrize("name", card_names())
def test_huggingface_hub_reads_the_cards(name: str, project_root: Path) -> None:
    card = ModelCard.load(project_root / "model_cards" / f"{name}.md")
    assert card.data.library_name == "transformers"
    assert card.data.tags[:2] == ["univs", "video-segmentation"]
    again = ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()
    # The model index comes through unchanged: huggingface_hub would merge results that it cannot tell apart.
    facts = card_facts(name)
    expected = [
        (figure.benchmark, figure.split, f"{figure.metric} (reported)", figure.value, table.source)
        for table in facts.reported
        if table.unit == "%"
        for figure in reported_figures(table)
    ]
    read = [
        (result.dataset_name, result.dataset_split, result.metric_name, result.metric_value, result.source_name)
        for result in card.data.eval_results or []
        if result.metric_name.endswith("(reported)")
    ]
    assert sorted(read) == sorted(expected)


def test_published_figures_are_those_of_the_specification(shared_dir: Path) -> None:
    text = (shared_dir / "specs" / "paper_results.md").read_text(encoding="utf-8")
    tables = re.split(r"^## ", text, flags=re.MULTILINE)
    for name, row_name in SPECIFICATION_ROWS.items():
        reported = {table.title: table for table in card_facts(name).reported}
        for title, heading in (
            ("Published in the paper", "Main results"),
            ("Published with the released checkpoints", "Released checkpoints"),
        ):
            (table,) = (table for table in tables if table.startswith(heading))
            (row,) = re.findall(rf"^\| {row_name} \|(.*)\|$", table, re.MULTILINE)
            assert reported[title].values == tuple(float(cell) for cell in re.split(r"[|/]", row))
    (speed,) = (table for table in tables if table.startswith("Speed"))
    figures = {table.title: table for table in card_facts("resnet50").reported}["Published speed"].values
    assert list(figures) == [float(number) for number in re.findall(r"\b(\d\d\.\d)\b", speed)]


def test_figures_have_the_names_of_the_benchmarks() -> None:
    """A figure that is reported is one that `univs evaluate` measures, under the same name."""
    facts = benchmark_facts()
    assert set(BENCHMARKS) == set(facts) - {"moving_shapes"}
    for name in BENCHMARKS:
        benchmark = benchmark_class(name)
        assert (facts[name].task, facts[name].split) == (benchmark.task, benchmark.default_split)
    for name in RELEASED:
        for table in card_facts(name).reported:
            if table.unit == "%":
                for key, metric in table.columns:
                    assert metric in benchmark_class(key).columns.values()


@pytest.mark.parametrize("name", RELEASED)
def test_numbers_of_parameters(name: str) -> None:
    facts = card_facts(name)
    with torch.device("meta"):
        model = UniVSForVideoSegmentation(UniVSConfig.from_preset(facts.preset, num_category_embeddings=3938))
    counts = {key: parameter.numel() for key, parameter in model.named_parameters()}
    assert sum(counts.values()) == facts.parameters
    assert sum(n for key, n in counts.items() if ".text_encoder." in key) == facts.text_tower_parameters


@pytest.mark.parametrize("name", card_names())
def test_code_in_cards_is_python(name: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", render_model_card(card_facts(name), repo_id="me/x"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)
        assert '"me/x", trust_remote_code=True' in block


@pytest.mark.parametrize("name", RELEASED)
def test_licence_of_converted_weights(name: str) -> None:
    """Converted weights are never said to be under the licence of this package."""
    card = ModelCard(render_model_card(card_facts(name)))
    assert (card.data.license, card.data.license_name) == ("other", "univs-released-weights")
    assert card.data.license_link.startswith("https://github.com/MinghanLi/UniVS")
    licence = card.text.split("## Licence")[1].split("## ")[0]
    assert "CC BY-NC" in licence and "non-commercial" in licence


# --- measured figures


def test_a_card_tells_the_settings_that_the_model_has_for_a_task(tmp_path: Path) -> None:
    own = {"vos": {"num_prompt_pixels": 16}}
    path = scores_file(tmp_path / "scores.json", settings={}, task_settings=own)
    text = " ".join(render_model_card(card_facts("resnet50"), read_scores([path])).split())
    told = "with the published settings of the task but for those that the configuration holds"
    assert f"{told} (vos: `num_prompt_pixels` = `16`)" in text
    # What was set for the run does not hide them.
    path = scores_file(tmp_path / "scores.json", task_settings=own)
    text = " ".join(render_model_card(card_facts("resnet50"), read_scores([path])).split())
    assert f"{told} (vos: `num_prompt_pixels` = `16`), with `shortest_edge` = `480` in place of the task's" in text
    path = scores_file(tmp_path / "scores.json", settings={})
    assert told not in " ".join(render_model_card(card_facts("resnet50"), read_scores([path])).split())


def test_without_figures_the_card_says_so() -> None:
    card = ModelCard(render_model_card(card_facts("tiny-shapes")))
    assert "No figures of these weights have been measured" in card.text
    assert card.data.eval_results is None
    assert "measured - goal" not in card.text


def test_measured_and_reported_figures_stay_apart(tmp_path: Path) -> None:
    measured = read_scores([scores_file(tmp_path / "scores.json")])
    card = ModelCard(render_model_card(card_facts("resnet50"), measured))
    davis = [result for result in card.data.eval_results if result.dataset_type == "davis17"]
    found = {(result.metric_name, result.dataset_split): result for result in davis}
    assert found["J&F (reported)", "val"].metric_value == 70.5
    assert found["J&F (reported)", "val"].source_name == "UniVS, CVPR 2024: main results"
    assert found["J&F (measured)", "val"].metric_value == 71.2
    assert found["J&F (measured)", "val"].source_name is None
    # Undefined figures are left out.
    assert ("F (measured)", "val") not in found
    assert "| DAVIS 2017 val | video object segmentation | J&F | 30 | 71.2 |" in card.text
    assert "`shortest_edge` = `480`" in card.text and "torch 2.13.0" in card.text
    assert "No figures of these weights" not in card.text


def test_goals_are_compared(tmp_path: Path) -> None:
    figures = {"vos/J&F": 0.8612, "vis/AP": 0.4, "vss/mVC8": 0.7, "vps/VPQ": None}
    path = tmp_path / "scores.json"
    path.write_text(
        json.dumps([{"benchmark": "moving_shapes", "split": "test", "num_videos": 200, "figures": figures}])
    )
    card = ModelCard(render_model_card(card_facts("tiny-shapes"), read_scores([path])))
    rows = [line for line in card.text.splitlines() if line.startswith("| Moving shapes")]
    assert rows == [
        "| Moving shapes test | video object segmentation | J&F | 200 | 86.1 | 85.0 | +1.1 |",
        "| Moving shapes test | video instance segmentation | AP | 200 | 40.0 | 50.0 | -10.0 |",
        "| Moving shapes test | video semantic segmentation | mVC8 | 200 | 70.0 | - | - |",
    ]
    # Three tasks on one dataset: huggingface_hub keeps them apart.
    names = {(result.task_name, result.metric_name) for result in card.data.eval_results}
    assert ("video object segmentation", "J&F (measured)") in names and len(names) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": None}, "benchmark"),
        ({"table": {"J&F": "fast"}}, "must be a number, got 'fast'"),
        ({"table": {"J&F": "171.0"}}, "no percentage"),
        ({"table": {"J&F": "-"}}, "no figure that is defined"),
        ({"table": [71.2]}, "must be an object"),
        ({"num_videos": 0}, "`num_videos`"),
    ],
)
def test_files_that_are_no_scores(changes: dict, message: str, tmp_path: Path) -> None:
    path = scores_file(tmp_path / "scores.json", **changes)
    if changes.get("benchmark", "") is None:
        content = json.loads(path.read_text())
        del content["benchmark"]
        path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_scores([path])
    assert "scores.json" in str(error.value)


def test_scores_given_twice_or_unknown(tmp_path: Path) -> None:
    path = scores_file(tmp_path / "a.json")
    with pytest.raises(ValueError, match="davis17 val were given already"):
        read_scores([path, scores_file(tmp_path / "b.json")])
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        read_scores([tmp_path / "c.json"])
    with pytest.raises(ValueError, match="'mydata'"):
        render_model_card(card_facts("resnet50"), read_scores([scores_file(path, benchmark="mydata")]))
    shapes = MeasuredScores("moving_shapes", "test", 3, {"J&F": 50.0}, {}, {})
    with pytest.raises(ValueError, match="TASK/METRIC"):
        measured_figures(card_facts("tiny-shapes"), [shapes])


# --- facts and checks


def test_facts_are_checked() -> None:
    with pytest.raises(ValueError, match="`name` must be one of"):
        card_facts("resnet101")
    with pytest.raises(ValueError, match="`name` and `link`"):
        Licence("other", "Ask the authors.")
    with pytest.raises(ValueError, match="1 values for 2 columns"):
        ReportedTable("Table", "", "", "", (("ovis", "mAP"), ("vspw", "mIoU")), (1.0,))


def test_facts_that_break_markdown_header() -> None:
    """Titles and names go through YAML, whatever they hold."""
    facts = CardFacts("own", "A: 'model' #1", "resnet", Licence("other", "n", 'a "name": x', "https://x/y#z"))
    card = check_card(render_model_card(facts), "model")
    assert card.data.license_name == 'a "name": x'
    assert "How these weights were trained is not stated." in card.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# No header\n", "YAML header"),
        ("---\nlicense: [\n---\n\ntext\n", "cannot be read"),
        ("---\n- license\n---\n\ntext\n", "cannot be read"),
        ("---\ntags: [a]\n---\n\ntext\n", "no `license`"),
        ("---\nlicense: other\n---\n\ntext\n", "license_name"),
        ("---\nlicense: mit\n---\n\n", "no text"),
        ("---\nlicense: mit\nmodel-index:\n- name: x\n  results:\n  - task: {}\n---\n\ntext\n", "cannot be read"),
    ],
)
def test_cards_that_are_not_valid(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_card(text, "model")


def test_command_renders_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("*.md"))) == 5
    assert main([str(tmp_path), "--check"]) == 0
    (tmp_path / "measured" / "swin-tiny").mkdir(parents=True)
    scores_file(tmp_path / "measured" / "swin-tiny" / "davis17.json")
    capsys.readouterr()
    assert main([str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().out.count("is not what the facts say") == 1
    assert main([str(tmp_path)]) == 0
    assert "| J&F | 30 | 71.2 |" in (tmp_path / "swin-tiny.md").read_text()
    assert main([str(tmp_path / "absent")]) == 2
