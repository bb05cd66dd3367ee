"""Training, sampling and export of the embedded model, on models that are smaller still (extra `train`)."""

from __future__ import annotations

import copy
import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from demo import checkpoint, grpo, log, sft
from demo.check import check, rounded
from demo.document import END_THINK, END_TURN, THINK, question
from demo.export import export
from demo.judge import Judgement, Outcome
from demo.measurement import Settings, asked_of_the_task, measure
from demo.model import Model, Shape
from demo.optimizer import Optimizer, orthogonal
from demo.rollout import PLAIN, Law, roll_out
from demo.tokenizer import Tokenizer, learn
from ledlocal.evals.puzzle import held_out
from ledlocal.methods.led import law as led_law
from ledlocal.values.errors import BadInput

torch.set_num_threads(1)  # as many processes as cores
SHAPES = [Shape(0, 3, 32, 2, 1, 32, 64), Shape(0, 2, 64, 4, 2, 32, 64)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return learn(1, documents=1500)


def new_model(tokenizer: Tokenizer, shape: Shape = SHAPES[0], seed: int = 0) -> Model:
    torch.manual_seed(seed)
    sizes = (shape.layers, shape.width, shape.heads, shape.kv_heads, shape.head, shape.hidden)
    return Model(Shape(len(tokenizer), *sizes))


@pytest.mark.parametrize("shape", SHAPES)
def test_decoding_with_a_cache_is_the_same_as_all_at_once(tokenizer: Tokenizer, shape: Shape) -> None:
    """Rows of different lengths, padded on the left, some dropped on the way."""
    model = new_model(tokenizer, shape)
    rows = [tokenizer.encode(question(random.Random(i)).prompt)[:n] for i, n in enumerate((12, 25, 7))]
    more = torch.randint(0, 300, (3, 4))
    width = max(map(len, rows))
    filled = torch.tensor([[place >= width - len(row) for place in range(width + 4)] for row in rows])
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    cache = model.empty_cache(filled)
    with torch.no_grad():
        steps = [model.step(ids, cache)] + [model.step(more[:, i:i + 1], cache) for i in range(2)]
        cache = cache.keep(torch.tensor([True, False, True]))
        last = model.step(more[[0, 2], 2:3], cache)
        for i, row in enumerate(rows):
            whole = model.residual_stream(torch.tensor([row + more[i].tolist()]))[:, 0]
            for step, states in enumerate(steps):
                torch.testing.assert_close(states[:, i], whole[:, len(row) - 1 + step], atol=1e-5, rtol=1e-4)
            if i != 1:
                torch.testing.assert_close(last[:, i // 2], whole[:, len(row) + 2], atol=1e-5, rtol=1e-4)


def test_what_follows_a_row_changes_nothing(tokenizer: Tokenizer) -> None:
    model, row = new_model(tokenizer), torch.randint(0, 300, (1, 9))
    with torch.no_grad():
        longer = model(torch.cat((row, torch.zeros(1, 5, dtype=torch.long)), 1))
        torch.testing.assert_close(model(row), longer[:, :9])
        torch.testing.assert_close(model.residual_stream(row)[-1], model(row))


@pytest.mark.parametrize("rows, columns", [(8, 8), (16, 6), (5, 12)])
def test_updates_are_nearly_orthogonal(rows: int, columns: int) -> None:
    torch.manual_seed(1)
    matrices = torch.randn(3, rows, columns)
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert (values > 0.5).all() and (values < 1.4).all()
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    likeness = torch.nn.functional.cosine_similarity(orthogonal(matrices).flatten(1), (left @ right).flatten(1))
    assert (likeness > 0.9).all()


def test_the_loss_is_the_replies_cross_entropy(tokenizer: Tokenizer) -> None:
    model = new_model(tokenizer)
    rows = [([1, 2, 3, 4, 5], 2), ([7, 8, 9], 1)]
    batch = sft.batch_of(rows, tokenizer)
    with torch.no_grad():
        expected = 0.0
        for ids, prompt in rows:
            logs = model.logits(model(torch.tensor([ids])))[0].log_softmax(-1)
            expected -= sum(float(logs[i - 1, ids[i]]) for i in range(prompt, len(ids)))
        assert float(sft.loss_of(model, batch.ids, batch.learnt)) == pytest.approx(expected, rel=1e-4)


def test_every_step_has_documents_of_all_lengths(tokenizer: Tokenizer) -> None:
    batches = list(sft.micro_batches(tokenizer, sft.Settings(1, rows=32), random.Random(1)))
    lengths = [batch.ids.shape[1] for batch in batches]
    assert lengths == sorted(lengths) and lengths[-1] > 2 * lengths[0]
    assert sum(len(batch.ids) for batch in batches) == 32


def test_documents_are_learnt(tokenizer: Tokenizer, tmp_path: Path) -> None:
    losses: list[float] = []
    sft.train(new_model(tokenizer), tokenizer, sft.Settings(60, rows=16), 1, tmp_path,
              lambda step, loss: losses.append(loss), lambda: False)
    assert losses[0] > 6 and losses[-1] < 4 and len(losses) == 60
    assert [json.loads(line)["step"] for line in (tmp_path / "sft.jsonl").read_text().splitlines()] == list(range(60))


def weights(path: Path) -> dict[str, object]:
    kept = torch.load(path, weights_only=True)
    return {name: weight.numpy().tobytes() for name, weight in kept["weights"].items()}


def test_a_supervised_run_that_was_interrupted_goes_on_bit_for_bit(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folders = [tmp_path / "whole", tmp_path / "parts"]
    for folder in folders:
        folder.mkdir()
    settings = sft.Settings(6, rows=8)
    assert sft.train(new_model(tokenizer), tokenizer, settings, 1, folders[0], lambda *_: None, lambda: False)
    done: list[int] = []
    assert not sft.train(new_model(tokenizer), tokenizer, settings, 1, folders[1], lambda step, _: done.append(step),
                         lambda: len(done) == 2)
    assert sft.train(new_model(tokenizer, seed=9), tokenizer, settings, 1, folders[1],
                     lambda step, _: done.append(step), lambda: False)
    assert done == [1, 2, 3, 4, 5, 6]
    assert weights(folders[0] / "sft.pt") == weights(folders[1] / "sft.pt")


def restless(tokenizer: Tokenizer) -> Model:
    """Untrained, but it ends its turn now and then: replies differ in their reward."""
    model = new_model(tokenizer)
    with torch.no_grad():
        model.head[tokenizer.id(END_TURN)] = torch.randn(model.shape.width)
    return model


SHORT = grpo.Settings(3, puzzles=2, remarks=1, group=4, longest=24, steps=2)


def test_a_reinforced_run_that_was_interrupted_goes_on_bit_for_bit(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folders = [tmp_path / "whole", tmp_path / "parts"]
    for folder in folders:
        folder.mkdir()
    before = restless(tokenizer).state_dict()["query"].numpy().tobytes()
    assert grpo.train(restless(tokenizer), tokenizer, SHORT, 1, folders[0], lambda *_: None, lambda: False)
    done: list[int] = []
    assert not grpo.train(restless(tokenizer), tokenizer, SHORT, 1, folders[1],
                          lambda step, _: done.append(step), lambda: len(done) == 1)
    (folders[1] / "rl.jsonl").write_text((folders[1] / "rl.jsonl").read_text() + '{"torn')
    assert grpo.train(new_model(tokenizer, seed=9), tokenizer, SHORT, 1, folders[1],
                      lambda step, _: done.append(step), lambda: False)
    assert weights(folders[0] / "rl.pt") == weights(folders[1] / "rl.pt")
    assert weights(folders[0] / "rl.pt")["query"] != before
    logs = [log.records(folder / "rl.jsonl") for folder in folders]
    assert [one["iteration"] for one in logs[1]] == [0, 1, 2] and sum(one["rows"] for one in logs[1]) > 0
    assert [one["reward"] for one in logs[0]] == [one["reward"] for one in logs[1]]


def test_a_checkpoint_of_other_tokens_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.pt", new_model(tokenizer), tokenizer)
    with pytest.raises(BadInput, match="was trained with other documents"):
        checkpoint.load(tmp_path / "a.pt", Tokenizer([*tokenizer.merges[:-2], *tokenizer.merges[:-3:-1]]))


def test_nothing_is_clipped_before_the_first_step(tokenizer: Tokenizer) -> None:
    """The ratio is 1 everywhere: log-probabilities of the same tokens, as they were drawn and as they are learnt."""
    model = restless(tokenizer)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    found = grpo.iterate(model, tokenizer, optimizer, 0.0, replace(SHORT, micro=3), "1")
    assert found["rows"] > 0 and found["clipped"] == 0


def test_a_step_makes_what_was_good_more_probable(tokenizer: Tokenizer) -> None:
    model = restless(tokenizer)
    prompt = tokenizer.encode(question(random.Random(1)).prompt)
    [reply] = roll_out(model, tokenizer, [prompt], PLAIN, 12, 1)
    for advantage in (1.0, -1.0):
        row = grpo.Row(prompt + reply.tokens, len(prompt), reply.log_probabilities, [advantage] * len(reply.tokens))
        changed = copy.deepcopy(model)
        grpo._optimize(changed, tokenizer, torch.optim.SGD(changed.parameters(), lr=0.01), [row], 1)
        with torch.no_grad():
            logs = changed.logits(changed(torch.tensor([row.ids]))[0, len(prompt) - 1:-1]).log_softmax(-1)
        now = float(logs.gather(1, torch.tensor(reply.tokens)[:, None]).sum())
        assert (now - sum(reply.log_probabilities)) * advantage > 0


def judgement(outcome: Outcome, failed: str, at_fault: str = "") -> Judgement:
    """Failed tries before every token, and whether it is of a try at fault (x), of one without (.), or of none."""
    marks: dict[str, bool | None] = {"x": True, ".": False, " ": None}
    return Judgement(outcome, failed=[int(digit) for digit in failed], tries=len(at_fault.split()),
                     faults=sum("x" in part for part in at_fault.split()),
                     at_fault=[marks[mark] for mark in at_fault.ljust(len(failed))])


PAIR = grpo.Settings(1, group=2, fault=0.6)


def test_the_outlook_by_hand() -> None:
    """Solved behind one failed try, given up behind two, a lie at once."""
    assert grpo.outlook_of([(1, 1.0), (2, 0.0), (0, -0.5)]) == pytest.approx([1 / 6, 0.5, 0.0])


def test_advantages_by_hand() -> None:
    """Solved behind one failed try and given up behind two, of three tries one at fault.

    The outlook is 1/2, 1/2, 0. From what the other reply came to: 1/2 - 0 and 1 - 0; 1/2 - 1, 0 - 1, 0 - 1.
    """
    group = [judgement(Outcome.SOLVED, "0011", " .  "), judgement(Outcome.GAVE_UP, "0012", "x . ")]
    gains = [[0.5, 0.5, 1, 1], [-0.5, -0.5, -1, -1]]
    scale = math.sqrt(sum(x * x for row in gains for x in row) / 8)
    faults = [[0, 0.2, 0, 0], [-0.4, 0, 0.2, 0]]
    found = grpo.advantages_of(group, PAIR)
    assert found == [pytest.approx([x / scale + y for x, y in zip(*row, strict=True)])
                     for row in zip(gains, faults, strict=True)]


def test_a_group_that_is_all_alike_teaches_nothing() -> None:
    group = [judgement(Outcome.SOLVED, "01", "x ") for _ in range(3)]
    assert grpo.advantages_of(group, grpo.Settings(1, group=3)) == [[0.0, 0.0]] * 3


def test_a_try_that_solves_is_better_than_one_that_fails() -> None:
    """Of two that solve it in the end, one at the second try, beside one that gives up."""
    group = [judgement(Outcome.SOLVED, "0"), judgement(Outcome.SOLVED, "01"), judgement(Outcome.GAVE_UP, "01")]
    [[first], [failed, second], [_, gave_up]] = grpo.advantages_of(group, grpo.Settings(1, group=3))
    assert first > failed and second > 0 > gave_up


def test_who_alone_gets_somewhere_is_compared_with_how_it_looked_before() -> None:
    group = [judgement(Outcome.GAVE_UP, "0"), judgement(Outcome.SOLVED, "0123")]
    assert grpo.advantages_of(group, PAIR)[1][-1] > 0


@pytest.mark.parametrize("ratio, advantage, value, slope", [
    (1.0, 2.0, 2.0, 2.0),
    (1.5, 1.0, 1.28, 0.0),   # more of what is good already became likelier: nothing to gain
    (0.5, 1.0, 0.5, 0.5),
    (0.5, -1.0, -0.8, 0.0),  # less of what is bad already
    (1.5, -1.0, -1.5, -1.5),
])
def test_the_clipped_objective_by_hand(ratio: float, advantage: float, value: float, slope: float) -> None:
    before = torch.tensor([-1.0])
    now = (before + math.log(ratio)).requires_grad_()
    found = grpo.objective(now, before, torch.tensor([advantage]))
    found.sum().backward()
    assert float(found.detach()) == pytest.approx(value, rel=1e-5)
    assert float(now.grad) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_the_schedule_begins_and_ends_low() -> None:
    assert grpo.schedule(0, 100) == pytest.approx(0.2)
    assert grpo.schedule(50, 100) == 1.0
    assert grpo.schedule(99, 100) == pytest.approx(0.136)


def test_log_probabilities_are_the_models_own(tokenizer: Tokenizer) -> None:
    """Whatever law the tokens were drawn by: temperature 1, untruncated."""
    model = new_model(tokenizer)
    prompts = [tokenizer.encode(question(random.Random(i)).prompt) for i in range(5)]
    for law in (PLAIN, Law(temperature=0.3), Law(top_k=4), Law(top_k=4, layers=3)):
        for prompt, reply in zip(prompts, roll_out(model, tokenizer, prompts, law, 12, 3), strict=True):
            ids = torch.tensor([prompt + reply.tokens])
            with torch.no_grad():
                logs = model.logits(model(ids))[0].log_softmax(-1)
            own = [float(logs[len(prompt) - 1 + i, token]) for i, token in enumerate(reply.tokens)]
            assert reply.log_probabilities == pytest.approx(own, abs=1e-4)
            assert len(reply.tokens) == 12 or reply.finished


class Script(Law):
    """Says what it is told, and notes which of the tokens were drawn in a thought."""

    __slots__ = ("left", "thoughts")

    def draw(self, model: Model, states: torch.Tensor, thinking: torch.Tensor,
             generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        self.thoughts.append(thinking.tolist())
        return torch.tensor([self.left.pop(0)]), torch.zeros(1)


def test_a_thought_goes_from_its_first_marker_to_its_last(tokenizer: Tokenizer) -> None:
    script = Script()
    object.__setattr__(script, "thoughts", [])
    object.__setattr__(script, "left", [5, tokenizer.id(THINK), 6, 7, tokenizer.id(END_THINK), 8,
                                        tokenizer.id(END_TURN)])
    [reply] = roll_out(new_model(tokenizer), tokenizer, [[1, 2, 3]], script, 20, 0)
    assert reply.finished and len(reply.tokens) == 7
    assert script.thoughts == [[False], [False], [True], [True], [True], [False], [False]]


def test_replies_do_not_depend_on_their_neighbours_when_greedy(tokenizer: Tokenizer) -> None:
    model = new_model(tokenizer)
    prompts = [tokenizer.encode(question(random.Random(i)).prompt) for i in range(6)]
    together = roll_out(model, tokenizer, prompts, Law(temperature=0), 16, 0)
    alone = [roll_out(model, tokenizer, [prompt], Law(temperature=0), 16, 0)[0] for prompt in prompts]
    assert [reply.tokens for reply in together] == [reply.tokens for reply in alone]


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("law", [PLAIN, Law(temperature=0.6), Law(top_k=8),
                                 Law(temperature=0.8, top_k=8, layers=3)])
def test_tokens_are_drawn_by_the_law(tokenizer: Tokenizer, law: Law, thinking: bool) -> None:
    """20,000 first tokens against the law, LED's as ledlocal's own `law` gives it (chi-square, far in the tail)."""
    model, rows = new_model(tokenizer), 20_000
    with torch.no_grad():
        model.head.mul_(30)
        states = model.residual_stream(torch.tensor([[5, 6, 7]]))[:, :, -1]
        layers = (model.logits(states.flip(0)) / law.temperature).softmax(-1)[:, 0].double()
        tokens, _ = law.draw(model, states.expand(-1, rows, -1), torch.full((rows,), thinking),
                             torch.Generator().manual_seed(7))
    expected = layers[0].clone()
    if law.top_k:
        most, ids = expected.topk(law.top_k)
        expected.zero_()
        expected[ids] = most / most.sum()
        if law.layers > 1 and thinking:
            expected[ids] = torch.from_numpy(led_law(layers[:law.layers, ids].numpy()[None])[0])
    counts = torch.bincount(tokens, minlength=len(tokenizer)).double()
    assert counts[expected == 0].sum() == 0
    often = expected * rows >= 5
    statistic = float((((counts - rows * expected) ** 2) / (rows * expected))[often].sum())
    free = int(often.sum())
    assert statistic < free + 6 * math.sqrt(2 * free) + 6


def test_what_is_measured_is_of_the_held_out_part(tokenizer: Tokenizer) -> None:
    asked = asked_of_the_task(50)
    assert all(held_out(one.numbers, one.target) for one in asked)
    found = measure(new_model(tokenizer), tokenizer, Settings(4, 2, for_layers=2), 1)
    assert set(found) == {"T=0.6", "T=1", "conversation", "layers"}
    assert found["T=1"]["pass@1"][0] == 0.0 and found["T=1"]["problems"] == 4
    assert len(found["layers"]["all"]["entropy"]) == 3 and found["layers"]["all"]["sure"] == 0.0
    assert found["layers"]["all"]["entropy"][-1] > 0.9


@pytest.mark.parametrize("shape", SHAPES)
def test_llama_cpp_reads_what_is_exported(tokenizer: Tokenizer, tmp_path: Path, shape: Shape) -> None:
    """A model that has learnt a little, so that its most probable token is no tie."""
    model = new_model(tokenizer, shape)
    optimizer = Optimizer(model)
    for step in range(25):
        for batch in sft.micro_batches(tokenizer, sft.Settings(1, rows=8), random.Random(step)):
            torch.autograd.backward(sft.loss_of(model, batch.ids, batch.learnt) / int(batch.learnt.sum()))
        optimizer.step(1.0)
    path = tmp_path / "a.gguf"
    export(model, tokenizer, path, "a")
    found = check(path, model, tokenizer, 4)
    assert found.texts == found.texts_equal and found.prompts_equal >= 3
    other = check(path, new_model(tokenizer, shape, seed=5), tokenizer, 2)
    assert other.prompts_equal == 0 and not other.passed


def test_rounding_is_half_precisions(tokenizer: Tokenizer) -> None:
    model = new_model(tokenizer)
    half = rounded(model).query.detach().numpy()
    assert (half == model.query.detach().numpy().astype(np.float16).astype(np.float32)).all()


def test_the_command_goes_on_after_its_minutes(tmp_path: Path) -> None:
    """The smallest profile, stopped twice and finished: exit code 75 each time it was not done."""
    codes = []
    for minutes in ("0.001", "0.001", "0"):
        command = [sys.executable, "-m", "demo", "--profile", "smoke", "--into", tmp_path / "run", "--minutes", minutes]
        run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
        codes.append(run.returncode)
        assert "Traceback" not in run.stderr, run.stderr
    assert codes == [75, 75, 0]
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files >= {"countdown-sft-f16.gguf", "countdown-rl-f16.gguf", "sft.json", "rl.json", "curves.svg", "rl.jsonl"}
    assert "<svg" in (tmp_path / "run" / "curves.svg").read_text()
    arms_are_compared(tmp_path / "run" / "sft.pt", tmp_path / "arms")


def arms_are_compared(start: Path, into: Path) -> None:
    """From what the smallest profile left: each arm by its own law, made once, and not mixed with other settings."""
    def run(iterations: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "demo.arms", "--profile", "smoke", "--from", start, "--into", into,
                   "--seeds", "1", "--threads", "1", "--iterations", str(iterations)]
        return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)

    first = run(1)
    assert first.returncode == 0, first.stderr
    assert all(f"| {arm} | 1 |" in first.stdout for arm in ("standard", "control", "led", "led - control"))
    assert first.stdout.endswith((into / "summary.md").read_text() + "\n")
    logs = [log.records(into / f"{arm}-1" / "rl.jsonl")[0] for arm in ("standard", "control", "led")]
    assert len({one["surprise"] for one in logs}) == 3
    made = (into / "led-1" / "rl.pt").stat().st_mtime_ns
    (into / "led-1" / "result.json").unlink()  # killed while it measured
    assert run(1).stdout == first.stdout and (into / "led-1" / "rl.pt").stat().st_mtime_ns == made
    other = run(2)
    assert other.returncode == 2 and "other settings" in other.stderr and "Traceback" not in other.stderr
