"""Model architectures that llama.cpp 0c1e57098 (vendored by llama-cpp-python 0.3.36) knows, and what they demand."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NOT_FOR_CHAT = {
    "makes embeddings": _names("bert modern-bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert "
                               "gemma-embedding llama-embed t5encoder"),
    "is a diffusion model and does not write token by token": _names("dream llada llada-moe rnd1"),
    "is a part of another model": _names("clip eagle3 dflash gemma4-assistant"),
    "is an encoder-decoder": _names("t5"),
    "makes sound": _names("wavtokenizer-dec pockettts qwen3tts"),
}
"""Why an architecture is refused; without a KV cache, a text decoder or a vocabulary llama.cpp cannot chat with it."""
FULL_ROTATION = _names("""
    apertus arcee arctic baichuan chameleon codeshell cogvlm cohere2moe dbrx deci deepseek dots1 ernie4_5 ernie4_5-moe
    exaone exaone-moe exaone4 falcon granite granite_swa graniteswitch grok grovemoe hunyuan-moe hunyuan_vl hy_v3
    internlm2 jais2 llama llama4 maincoder mellum mistral3 olmo olmo2 olmoe orion paddleocr pangu-embedded plamo qwen2
    qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe seed_oss smallthinker smollm3 starcoder2 talkie xverse
    """)
"""Their graphs assert key_length == value_length == rope.dimension_count (src/models/*.cpp)."""
EQUAL_HEADS = FULL_ROTATION | _names("""
    afmoe bailingmoe2 bitnet bloom chatglm cohere2 command-r deepseek4 gemma4 glm4 glm4moe gpt2 gptneox granitehybrid
    jais laguna maple minimax-01 minimax-m2 minimax-m3 mpt muse-glimmer nanbeige nemotron nemotron_h nemotron_h_moe
    openelm phi2 phi3 qwen qwen35 qwen35moe qwen3next qwen4exp refact spark2_5 stablelm starcoder
    """)
"""Their graphs assert key_length == value_length."""
LATENT = _names("deepseek2 deepseek2-ocr deepseek32 dots3note glm-dsa hy_v4 kimi-k3 kimi-linear")
"""With latent attention their KV cache holds the compressed row and the rotated one, one behind the other."""
RECURRENT = _names("mamba mamba2 rwkv6 rwkv6qwen2 rwkv7 arwkv7")
"""Without attention (llm_arch_is_recurrent)."""
ARCHITECTURES = EQUAL_HEADS | RECURRENT | _names("""
    bailingmoe bailingmoe3 deepseek2 deepseek2-ocr deepseek32 dots3note falcon-h1 gemma gemma2 gemma3 gemma3n
    glm-dsa glm5-next gpt-oss gptj granitemoe hrm_text hunyuan-dense hy_v4 jamba kimi-k3 kimi-linear lfm2 lfm2moe
    mimo2 minicpm minicpm3 mistral4 phimoe plamo2 plamo3 plm step35
    """)
"""Architectures that write text token by token (LLM_ARCH_NAMES of src/llama-arch.cpp, less NOT_FOR_CHAT)."""
