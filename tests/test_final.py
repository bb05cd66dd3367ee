"""The final layer's list: the order it promises, and which rows it leaves open, against one row at a time."""

from __future__ import annotations

import numpy as np
import pytest
from final_layers import final_of

from ledlocal.methods.final import final_layer


@pytest.mark.parametrize("step", [0, 0.5], ids=["apart", "tied"])
def test_every_row_is_sorted_by_logit_then_id_however_the_list_came(step: float) -> None:
    rng = np.random.default_rng(2)
    for rows, top in ((1, 1), (1, 80), (7, 3), (32, 80)):
        pack = rng.normal(0, 3, (rows, 2 * top + 1)).astype(np.float32)
        logits = (np.round(pack / step) * step if step else pack)[:, top:2 * top]  # a part of wider rows
        logits[0, 0] = -0.0
        ids = np.stack([rng.permutation(500)[:top] for _ in range(rows)]).astype(np.int32)
        numbers = np.arange(rows, dtype=np.float64)
        final = final_layer(ids, logits, numbers, numbers, numbers, False)
        for i in range(rows):
            pairs = sorted(zip((-logits[i]).tolist(), ids[i].tolist(), strict=True))
            assert final.ids[i].tolist() == [token for _, token in pairs]
            assert final.logits[i].tolist() == [-logit for logit, _ in pairs]


def test_a_row_is_undecided_where_its_own_last_token_ties_with_the_end_of_its_list() -> None:
    rng = np.random.default_rng(3)
    found = set()
    for _ in range(500):
        final = final_of(rng.integers(0, 4, (rng.integers(1, 5), 12)).astype(np.float32), top=6)
        n = rng.integers(1, 7, len(final.ids))
        tied = [i for i, row in enumerate(final.logits) if row[n[i] - 1] == row[-1]]
        assert final.undecided(n).tolist() == tied
        found.add(len(tied))
    assert found == {0, 1, 2, 3, 4}
