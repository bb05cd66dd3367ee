"""What the tensors of each tiny model are: names, shapes and keys by architecture.

Source: `load_arch_hparams` and `load_arch_tensors` of llama.cpp's src/models/<architecture>.cpp at the pinned release.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Shapes = dict[str, tuple[int, ...]]
"""Tensor name -> NumPy shape (rows first, the reverse of ggml's `ne`)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Dimensions of a tiny model; a head has n_embd / n_head numbers."""

    n_layer: int = 6
    n_embd: int = 64
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 96
    n_expert: int = 4
    vocab: int = 320
    window: int = 32
    """Sliding window, in tokens, of the architectures that have one."""
    state: int = 8
    """State of a recurrent channel."""


def _attention(s: Sizes) -> Shapes:
    head = s.n_embd // s.n_head
    q, kv = (s.n_embd, s.n_embd), (s.n_head_kv * head, s.n_embd)
    return {"attn_q.weight": q, "attn_k.weight": kv, "attn_v.weight": kv, "attn_output.weight": q}


def _mlp(s: Sizes, gate: bool = True) -> Shapes:
    up = (s.n_ff, s.n_embd)
    shapes: Shapes = {"ffn_up.weight": up, "ffn_down.weight": (s.n_embd, s.n_ff)}
    return shapes | {"ffn_gate.weight": up} if gate else shapes


def _norms(s: Sizes, *names: str) -> Shapes:
    return {f"{name}.weight": (s.n_embd,) for name in names}


def _dense(s: Sizes) -> Shapes:
    return _norms(s, "attn_norm", "ffn_norm") | _attention(s) | _mlp(s)


def _qk_norm(s: Sizes) -> Shapes:
    head = s.n_embd // s.n_head
    return {"attn_q_norm.weight": (head,), "attn_k_norm.weight": (head,)}


def _qwen2(s: Sizes) -> Shapes:
    kv = s.n_head_kv * s.n_embd // s.n_head
    return _dense(s) | {"attn_q.bias": (s.n_embd,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}


def _qwen3moe(s: Sizes) -> Shapes:
    up = (s.n_expert, s.n_ff, s.n_embd)
    return _norms(s, "attn_norm", "ffn_norm") | _attention(s) | _qk_norm(s) | {
        "ffn_gate_inp.weight": (s.n_expert, s.n_embd), "ffn_gate_exps.weight": up, "ffn_up_exps.weight": up,
        "ffn_down_exps.weight": (s.n_expert, s.n_embd, s.n_ff)}


def _gemma2(s: Sizes) -> Shapes:
    return _dense(s) | _norms(s, "post_attention_norm", "post_ffw_norm")


def _gemma3n(s: Sizes) -> Shapes:
    # 4 streams, 256 per-layer numbers and rank 64 are constants of llama.cpp's hparams
    return _gemma2(s) | _qk_norm(s) | _norms(s, "post_norm", "altup_correct_scale", "altup_router_norm",
                                             "laurel_post_norm") | {
        "inp_gate.weight": (256, s.n_embd), "proj.weight": (s.n_embd, 256), "altup_correct_coef.weight": (4, 4),
        "altup_predict_coef.weight": (16, 4), "altup_router.weight": (4, s.n_embd), "laurel_l.weight": (64, s.n_embd),
        "laurel_r.weight": (s.n_embd, 64)}


def _gemma3n_outside(s: Sizes) -> Shapes:
    added: Shapes = {f"{name}.weight": (3, s.n_embd, s.n_embd) for name in ("altup_proj", "altup_unembd_proj")}
    return added | {
        "per_layer_token_embd.weight": (s.vocab, 256 * s.n_layer),
        "per_layer_model_proj.weight": (256 * s.n_layer, s.n_embd), "per_layer_proj_norm.weight": (256,)}


def _phi2(s: Sizes) -> Shapes:
    kv = s.n_head_kv * s.n_embd // s.n_head
    bias = {"attn_norm": s.n_embd, "attn_q": s.n_embd, "attn_k": kv, "attn_v": kv, "attn_output": s.n_embd,
            "ffn_up": s.n_ff, "ffn_down": s.n_embd}
    return (_norms(s, "attn_norm") | _attention(s) | _mlp(s, gate=False)
            | {f"{name}.bias": (size,) for name, size in bias.items()})


def _phi3(s: Sizes) -> Shapes:
    return _norms(s, "attn_norm", "ffn_norm") | _attention(s) | {
        "ffn_up.weight": (2 * s.n_ff, s.n_embd), "ffn_down.weight": (s.n_embd, s.n_ff)}


def _lfm2_conv(s: Sizes) -> Shapes:
    return _norms(s, "attn_norm", "ffn_norm") | _mlp(s) | {
        "shortconv.conv.weight": (s.n_embd, 3), "shortconv.in_proj.weight": (3 * s.n_embd, s.n_embd),
        "shortconv.out_proj.weight": (s.n_embd, s.n_embd)}


def _mamba(s: Sizes) -> Shapes:
    inner, rank = 2 * s.n_embd, 4
    return _norms(s, "attn_norm") | {
        "ssm_in.weight": (2 * inner, s.n_embd), "ssm_conv1d.weight": (inner, 4), "ssm_conv1d.bias": (inner,),
        "ssm_x.weight": (rank + 2 * s.state, inner), "ssm_dt.weight": (inner, rank), "ssm_dt.bias": (inner,),
        "ssm_a": (inner, s.state), "ssm_d": (inner,), "ssm_out.weight": (s.n_embd, inner)}


def _granite_mamba2(s: Sizes) -> Shapes:
    inner, heads = 2 * s.n_embd, 4
    return _norms(s, "attn_norm", "ffn_norm") | _mlp(s) | {
        "ssm_in.weight": (2 * inner + 2 * s.state + heads, s.n_embd), "ssm_conv1d.weight": (inner + 2 * s.state, 4),
        "ssm_conv1d.bias": (inner + 2 * s.state,), "ssm_dt.bias": (heads,), "ssm_a": (heads, 1), "ssm_d": (heads, 1),
        "ssm_norm.weight": (1, inner), "ssm_out.weight": (s.n_embd, inner)}


def _chameleon(s: Sizes) -> Shapes:
    head = s.n_embd // s.n_head
    return _dense(s) | {"attn_q_norm.weight": (s.n_head, head), "attn_k_norm.weight": (s.n_head_kv, head)}


def _plamo2(s: Sizes) -> Shapes:
    inner, heads, rank = 2 * s.n_embd, 4, 64
    return _norms(s, "attn_norm", "ffn_norm") | {
        "ssm_in.weight": (2 * inner, s.n_embd), "ssm_conv1d.weight": (inner, 4),
        "ssm_x.weight": (rank + 2 * s.state, inner), "ssm_dt.weight": (heads, rank), "ssm_dt.bias": (heads,),
        "ssm_a": (heads,), "ssm_d": (heads,), "ssm_out.weight": (s.n_embd, inner), "ssm_dt_norm": (rank,),
        "ssm_b_norm": (s.state,), "ssm_c_norm": (s.state,), "post_attention_norm": (s.n_embd,),
        "post_ffw_norm": (s.n_embd,), "ffn_up.weight": (2 * s.n_ff, s.n_embd), "ffn_down.weight": (s.n_embd, s.n_ff)}


def _plamo2_attention(s: Sizes) -> Shapes:
    head = s.n_embd // s.n_head
    mamba = {name: shape for name, shape in _plamo2(s).items() if not name.startswith("ssm")}
    return mamba | {
        "attn_qkv.weight": (s.n_embd + 2 * s.n_head_kv * head, s.n_embd), "attn_q_norm.weight": (s.n_head, head),
        "attn_k_norm.weight": (s.n_head_kv, head), "attn_output.weight": (s.n_embd, s.n_embd)}


_STREAMS, _Q_RANK, _KV_RANK, _VALUE = 4, 32, 32, 16
"""hy_v4: hyper-connection streams, ranks of its latent attention, and numbers per head value."""


def _hy_v4(s: Sizes) -> Shapes:
    rope = s.n_embd // s.n_head
    mixes: Shapes = {}
    for part in ("attn", "ffn"):
        mixes |= {f"hc_{part}_fn.weight": (2 * _STREAMS, _STREAMS * s.n_embd),
                  f"hc_{part}_base.weight": (2 * _STREAMS,), f"hc_{part}_scale.weight": (2,)}
    return mixes | _norms(s, "attn_norm", "ffn_norm") | _mlp(s) | {
        "attn_sinks.weight": (s.n_head,), "attn_q_a.weight": (_Q_RANK, s.n_embd), "attn_q_a_norm.weight": (_Q_RANK,),
        "attn_q_b.weight": (s.n_head * 2 * rope, _Q_RANK), "attn_kv_a_mqa.weight": (_KV_RANK + rope, s.n_embd),
        "attn_kv_a_norm.weight": (_KV_RANK,), "attn_k_b.weight": (s.n_head, _KV_RANK, rope),
        "attn_v_b.weight": (s.n_head, _VALUE, _KV_RANK), "attn_output.weight": (s.n_embd, s.n_head * _VALUE),
        "attn_gate.weight": (s.n_head * _VALUE, s.n_embd)}


def _hy_v4_outside(s: Sizes) -> Shapes:
    return {"output_hc_fn.weight": (_STREAMS, _STREAMS * s.n_embd), "output_hc_base.weight": (_STREAMS,),
            "output_hc_scale.weight": (1,)}


def _hy_v4_keys(s: Sizes) -> dict[str, int | float | list[int]]:
    rope = s.n_embd // s.n_head
    return {"leading_dense_block_count": s.n_layer, "attention.q_lora_rank": _Q_RANK,
            "attention.kv_lora_rank": _KV_RANK, "attention.head_count_kv": 1,
            "attention.key_length": _KV_RANK + rope, "attention.value_length": _KV_RANK,
            "attention.key_length_mla": 2 * rope, "attention.value_length_mla": _VALUE,
            "expert_feed_forward_length": s.n_ff, "expert_shared_count": 1, "hyper_connection.count": _STREAMS,
            "hyper_connection.epsilon": 1e-6, "hyper_connection.magnitude": 2.0}


def _plamo3(s: Sizes) -> Shapes:
    head = s.n_embd // s.n_head
    return _norms(s, "attn_norm", "ffn_norm") | _qk_norm(s) | {
        "attn_qkv.weight": (s.n_embd + 2 * s.n_head_kv * head, s.n_embd), "attn_output.weight": (s.n_embd, s.n_embd),
        "post_attention_norm": (s.n_embd,), "post_ffw_norm": (s.n_embd,),
        "ffn_up.weight": (2 * s.n_ff, s.n_embd), "ffn_down.weight": (s.n_embd, s.n_ff)}


_HEADS, _KEY = 4, 16
"""qwen35: heads of its linear attention, and numbers of a key or a value in one."""


def _qwen35(s: Sizes) -> Shapes:
    inner = _HEADS * _KEY
    return _norms(s, "attn_norm", "post_attention_norm") | _mlp(s) | {
        "attn_qkv.weight": (3 * inner, s.n_embd), "attn_gate.weight": (inner, s.n_embd),
        "ssm_conv1d.weight": (3 * inner, 4), "ssm_dt.bias": (_HEADS,), "ssm_a": (_HEADS,),
        "ssm_beta.weight": (_HEADS, s.n_embd), "ssm_alpha.weight": (_HEADS, s.n_embd), "ssm_norm.weight": (_KEY,),
        "ssm_out.weight": (s.n_embd, inner)}


def _qwen35_attention(s: Sizes) -> Shapes:
    gated: Shapes = {"attn_q.weight": (2 * s.n_embd, s.n_embd)}
    return _norms(s, "attn_norm", "post_attention_norm") | _mlp(s) | _attention(s) | _qk_norm(s) | gated


def _qwen35_keys(s: Sizes) -> dict[str, int | float | list[int]]:
    return {"ssm.conv_kernel": 4, "ssm.inner_size": _HEADS * _KEY, "ssm.state_size": _KEY,
            "ssm.time_step_rank": _HEADS, "ssm.group_count": _HEADS, "attention.head_count_kv": s.n_head_kv,
            "attention.recurrent_layers": [i % 3 != 1 for i in range(s.n_layer)],
            "rope.dimension_sections": [2, 3, 3, 0]}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an architecture differs from a plain pre-norm transformer."""

    block: Callable[[Sizes], Shapes]
    """Sizes -> Shapes of one block; in hybrid models of a recurrent block."""
    attention: Callable[[Sizes], Shapes] | None = None
    """Hybrid models: Sizes -> Shapes of every third block, which has attention."""
    keys: Callable[[Sizes], dict[str, int | float | list[int]]] = lambda s: {}
    """Keys that only this architecture has, or has otherwise than the rest."""
    norm: str = "output_norm"
    outside: Callable[[Sizes], Shapes] = lambda s: {}
    """Tensors outside the blocks, besides embedding and head."""
    always_tied: bool = False
    experts: bool = False
    recurrent: bool = False
    """Blocks are Mamba's, with 4 heads or a time step of rank 4."""
    layer_norm: bool = False
    norm_bias: bool = False
    window: bool = False
    logit_scale: float | None = None
    soft_cap: float | None = None
    output_bias: bool = False
    min_vocab: int = 0


RECIPES: dict[str, Recipe] = {
    "llama": Recipe(_dense),
    "qwen2": Recipe(_qwen2),
    "qwen3": Recipe(lambda s: _dense(s) | _qk_norm(s)),
    "qwen3moe": Recipe(_qwen3moe, experts=True),
    "gemma2": Recipe(_gemma2, always_tied=True, window=True, soft_cap=4.0),
    "gemma3": Recipe(lambda s: _gemma2(s) | _qk_norm(s), window=True),
    "granite": Recipe(_dense, logit_scale=3.0),
    "command-r": Recipe(lambda s: _norms(s, "attn_norm") | _attention(s) | _mlp(s), always_tied=True,
                         layer_norm=True, logit_scale=0.5),
    "phi2": Recipe(_phi2, layer_norm=True, norm_bias=True, output_bias=True),
    "phi3": Recipe(_phi3),
    "lfm2": Recipe(_lfm2_conv, lambda s: _dense(s) | _qk_norm(s), lambda s: {"shortconv.l_cache": 3},
                   norm="token_embd_norm"),
    "granitehybrid": Recipe(_granite_mamba2, _dense, lambda s: {"ssm.group_count": 1}, recurrent=True,
                            logit_scale=3.0),
    "mamba": Recipe(_mamba, recurrent=True),
    "qwen35": Recipe(_qwen35, _qwen35_attention, _qwen35_keys),
    "cohere2moe": Recipe(lambda s: _norms(s, "attn_norm") | _attention(s) | _mlp(s),
                         keys=lambda s: {"leading_dense_block_count": s.n_layer}, experts=True, layer_norm=True,
                         window=True, logit_scale=0.5),
    "plamo3": Recipe(_plamo3),
    "chameleon": Recipe(_chameleon, min_vocab=8300),
    "plamo2": Recipe(_plamo2, _plamo2_attention, lambda s: {"ssm.group_count": 0}, recurrent=True),
    "gemma3n": Recipe(_gemma3n, outside=_gemma3n_outside, window=True, soft_cap=30.0),
    "hy_v4": Recipe(_hy_v4, keys=_hy_v4_keys, outside=_hy_v4_outside),
}
"""Every architecture that can be written here."""
UNTAPPABLE = ("chameleon", "plamo2", "gemma3n", "hy_v4")
"""Their layers cannot be projected: suppressed image logits, no `l_out`, several residual streams (the last two)."""
