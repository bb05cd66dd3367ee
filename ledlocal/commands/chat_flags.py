"""The flags of `ledlocal chat`, in llama.cpp's words where it has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from ledlocal.commands.completion import choices, conversations, models_and_files
from ledlocal.values.params import CacheType, FlashAttention, TapName

SETTINGS = (
    (("--temp", "--temperature"), "temp", "T", "Temperature; 0: greedy, but for LED's coin. [file's, else 0.6]"),
    (("--top-k",), "top_k", "N", "Method standard: the N most probable tokens; 0: all. [file's, else 20]"),
    (("--top-p",), "top_p", "P", "Method standard: the smallest set with probability P; 1: all. [file's, else 0.95]"),
    (("--min-p",), "min_p", "P", "Method standard: at least P times the largest probability; 0: off. [file's, else 0]"),
    (("--order",), "order", "llama|paper", "Method standard: temperature last, or first. [llama]"),
    (("--method",), "method", "led|standard|control", "How tokens are drawn. [led]"),
    (("--preset",), "preset", "reference|paper", "LED as in the authors' code, or in the paper's figure. [reference]"),
    (("--d",), "d", "N", "LED: exploration depth, the number of layers looked at. [8]"),
    (("--k",), "k", "N", "LED: number of candidates. [8]"),
    (("--scope",), "scope", "thinking|all", "LED: where to explore. [thinking]"),
    (("--think-temp",), "think.temp", "T", "Temperature while thinking."),
    (("--answer-temp",), "answer.temp", "T", "Temperature of the answer."),
    (("--answer-method",), "answer.method", "led|standard|control", "Method of the answer."),
    (("-s", "--seed"), "seed", "N", "Seed; -1: random. [-1]"),
    (("-n", "--predict", "--n-predict"), "max_tokens", "N",
     "Most tokens to generate, thinking included; -1: up to the context. [-1]"),
    (("--reasoning",), "reasoning", "on|off|auto", "Whether the template lets the model think. [auto]"),
    (("--reasoning-budget",), "budget", "N", "End thinking after N tokens; -1: never. [-1]"),
)
"""Flags -> name in Settings. Plain names come first: they set both phases."""

_SESSION = (
    click.option("-m", "--model", metavar="MODEL", shell_complete=models_and_files,
                 help="The same as MODEL: a GGUF file, demo, user/repo[:quant], "
                 "ollama:NAME, lmstudio:PUBLISHER/MODEL, or a name of your configuration file. [demo]"),
    click.option("-hf", "--hf-repo", metavar="REPO",
                 help="The same as MODEL, of the Hugging Face hub: user/repo[:quant]."),
    click.option("-sys", "--system-prompt", metavar="TEXT", help="System message."),
    *(click.option(*flags, name.replace(".", "__"), metavar=metavar, help=text, shell_complete=choices)
      for flags, name, metavar, text in SETTINGS),
    click.option("--set", "more", nargs=2, multiple=True, metavar="NAME VALUE",
                 help="Any setting of /set: norm on, answer.top_p 0.9, ..."),
    click.option("--stop", multiple=True, metavar="TEXT", help="End the answer before TEXT; repeatable."),
    click.option("-c", "--ctx-size", type=int, metavar="N",
                 help="Context in tokens; 0: as trained. [trained, at most 32768]"),
    click.option("-ngl", "--gpu-layers", "--n-gpu-layers", default="auto", metavar="auto|all|N",
                 help="Layers on the GPU; auto: as many as fit. [auto]"),
    click.option("-fa", "--flash-attn", type=click.Choice(get_args(FlashAttention)), default="auto",
                 help="Flash attention. [auto]"),
    *(click.option(short, long, type=click.Choice(get_args(CacheType)), default="f16", metavar="TYPE", help=text)
      for short, long, text in (
          ("-ctk", "--cache-type-k", f"Keys in the KV cache: {', '.join(get_args(CacheType))}. [f16]"),
          ("-ctv", "--cache-type-v", "Values in the KV cache; below bf16 only with flash attention. [f16]"))),
    click.option("-t", "--threads", type=int, metavar="N", help="CPU threads; -1: physical cores. [-1]"),
    click.option("--tap", type=click.Choice(get_args(TapName)), default="auto",
                 help="How intermediate layers are read. [auto]"),
    click.option("--sha256", metavar="HEX", help="Refuse the model unless its SHA-256 begins so."),
    click.option("--chat-template-file", type=click.Path(path_type=Path), metavar="FILE",
                 help="Replaces the file's own."),
    click.option("--think-tags", metavar="START,END", help="Thinking markers, if they are not found."),
    click.option("--reproducible", is_flag=True, help="The same tokens whatever else the engine does (CPU)."),
    click.option("--continue", "resume", is_flag=True, help="Go on with the last kept conversation."),
    click.option("--load", metavar="NAME", shell_complete=conversations,
                 help="Go on with a kept conversation, or one in a .jsonl file."),
    click.option("--no-save", is_flag=True, help="Do not keep the conversation."),
    click.option("--offline", is_flag=True, help="Never use the network."),
)
"""Of every command that holds a conversation."""

_TERMINAL = (
    click.option("-p", "--prompt", metavar="PROMPT", help="The same as PROMPT: answer once and leave."),
    click.option("-f", "--file", type=click.Path(path_type=Path), metavar="FILE",
                 help="The prompt is the text of FILE."),
    click.option("--show-thinking", type=click.Choice(["auto", "always", "never"]), default="auto",
                 help="auto: unless quiet; never: only counted. [auto]"),
    click.option("--color-by", type=click.Choice(["explored", "confidence", "none"]), default="explored",
                 help="What colours mean. [explored]"),
    click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="[auto]"),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    click.option("--trace", type=click.Path(path_type=Path), metavar="FILE",
                 help="A new file: one JSON line per token."),
    click.option("--trace-all", is_flag=True, help="With --trace: look into the layers at every thinking token."),
    click.option("-q", "--quiet", is_flag=True, help="Only the answer."),
    click.option("--print-config", is_flag=True, help="Show every value and where it came from, and leave."),
)
"""Of the command that prints as it goes."""
TERMINAL = ("prompt", "file", "show-thinking", "color-by", "color", "json", "trace", "trace-all", "quiet")
"""Their long names, those that the configuration file may hold."""


def chat_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate `ledlocal chat` with its flags."""
    words = click.argument("words", nargs=-1, metavar="[MODEL] [PROMPT]", shell_complete=models_and_files)
    return _decorated(command, (words, *_SESSION, *_TERMINAL))


def tui_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate `ledlocal tui` with its flags."""
    words = click.argument("words", nargs=-1, metavar="[MODEL]", shell_complete=models_and_files)
    return _decorated(command, (words, *_SESSION))


def _decorated(command: Callable[..., None], flags: tuple[Callable[..., Any], ...]) -> Callable[..., None]:
    for flag in reversed(flags):
        command = flag(command)
    return command
