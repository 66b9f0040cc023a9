"""Counting tokens as a model's own tokenizer does, offline where that tokenizer is there."""

from __future__ import annotations

from dataclasses import dataclass

from tfgrpo_dspy.errors import MissingExtraError


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Counts the tokens of texts for a model, with LiteLLM's table of tokenizers: for `count_tokens=`.

    Those of OpenAI's models and an approximate one for Anthropic's come with LiteLLM; it would fetch others from the
    Hugging Face Hub, and takes OpenAI's for models that it does not know.

    Raises:
        MissingExtraError: LiteLLM is not installed (when first called).
    """

    model: str
    """As DSPy names it, e.g. `openai/gpt-4.1-mini`."""

    def __call__(self, text: str) -> int:
        """Tokens of a text."""
        try:
            from litellm import token_counter
        except ImportError as error:
            raise MissingExtraError("Tokenizer needs LiteLLM: pip install litellm") from error
        return int(token_counter(model=self.model.partition("/")[2] or self.model, text=text))
