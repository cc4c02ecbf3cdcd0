"""A bag-of-words text encoder behind ComfyUI's CLIP interface.

Each known word has one learned vector. The vectors are the cross-attention context and their mean is the pooled output. Unknown
words are skipped and logged once.
"""

import json
import logging
import re
from typing import Any

import torch
from torch import Tensor, nn

CONTEXT_LENGTH = 8
STOP_WORDS = frozenset(["a", "an", "and", "at", "in", "of", "on", "or", "the", "to", "with", "s"])


def words_of(text: str) -> list[str]:
    """The words of a text in lower case and in order, without stop words."""
    return [w for w in re.findall(r"[a-z0-9]+", text.lower().replace("'", "")) if w not in STOP_WORDS]


class BagOfWords(nn.Module):
    """Word vectors (V + 1, D). Row 0 is the padding vector, which by itself encodes an empty prompt."""

    def __init__(self, words: int, dim: int, dtype: torch.dtype | None = None, device: Any = None) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(words + 1, dim, dtype=dtype, device=device))

    def forward(self, ids: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Encode padded ids (B, T), 0 for padding, with weights (B, T) into context (B, T, D) and pooled (B, D)."""
        empty = self.vectors[0]
        context = empty + weights[..., None] * (self.vectors[ids] - empty)
        present = (ids != 0).to(context.dtype)[..., None]
        pooled = empty + ((context - empty) * present).sum(1) / present.sum(1).clamp(min=1)
        return context, pooled


class BagOfWordsTokenizer:
    """The tokenizer of ComfyUI's CLIP; weights such as ``(word:1.2)`` work as with any other model."""

    def __init__(self, vocabulary: list[str]) -> None:
        self.vocabulary = vocabulary
        self.ids = {word: i for i, word in enumerate(vocabulary, start=1)}
        self._reported: set[str] = set()

    def lookup(self, word: str) -> int | None:
        """Id of a word or of its singular, or None if both are unknown."""
        for form in (word, word.removesuffix("s"), word.removesuffix("es")):
            if form in self.ids:
                return self.ids[form]
        return None

    def tokenize_with_weights(
        self, text: str, return_word_ids: bool = False, **kwargs: Any
    ) -> dict[str, list[list[tuple[int, float]]]]:
        """Token ids with their weights, padded to a multiple of CONTEXT_LENGTH."""
        from comfy.sd1_clip import escape_important, token_weights, unescape_important

        pairs: list[tuple[int, float]] = []
        unknown = []
        for segment, weight in token_weights(escape_important(text), 1.0):
            for word in words_of(unescape_important(segment)):
                index = self.lookup(word)
                if index is None:
                    unknown.append(word)
                else:
                    pairs.append((index, weight))
        new = sorted(set(unknown) - self._reported)
        if new:
            self._reported.update(new)
            logging.warning("The demo model does not know these words: %s. It knows %d words.", ", ".join(new), len(self.ids))
        padding = -len(pairs) % CONTEXT_LENGTH if pairs else CONTEXT_LENGTH
        pairs += [(0, 1.0)] * padding
        words: list[tuple] = [(*pair, 0) for pair in pairs] if return_word_ids else list(pairs)
        return {"words": [words]}

    def untokenize(self, token_weight_pair: list[tuple[int, float]]) -> list[tuple[tuple[int, float], str]]:
        """Pair each token with its word, as ComfyUI's tokenizers do."""
        return [(pair, self.vocabulary[pair[0] - 1] if pair[0] else "") for pair in token_weight_pair]

    def state_dict(self) -> dict[str, Tensor]:
        """The vocabulary as a tensor, so that a checkpoint saved by ComfyUI keeps it."""
        return {"vocabulary": torch.tensor(list(json.dumps(self.vocabulary).encode()), dtype=torch.uint8)}


class BagOfWordsEncoder(nn.Module):
    """The encoder of ComfyUI's CLIP."""

    def __init__(
        self, words: int, dim: int, dtype: torch.dtype | None = None, device: Any = None, model_options: Any = None
    ) -> None:
        super().__init__()
        self.bag_of_words = BagOfWords(words, dim, dtype, device)
        self.dtypes = {dtype or torch.float32}

    def set_clip_options(self, options: dict[str, Any]) -> None:
        """Accept ComfyUI's CLIP options; a bag of words has no layers to choose from."""

    def reset_clip_options(self) -> None:
        """Undo set_clip_options."""

    def encode_token_weights(self, tokens: dict[str, list[list[tuple[int, float]]]]) -> tuple[Tensor, Tensor]:
        """Context (1, T, D) and pooled output (1, D) of one prompt, on the CPU in float32."""
        pairs = tokens["words"][0]
        vectors = self.bag_of_words.vectors
        ids = torch.tensor([[p[0] for p in pairs]], device=vectors.device)
        weights = torch.tensor([[p[1] for p in pairs]], device=vectors.device, dtype=vectors.dtype)
        context, pooled = self.bag_of_words(ids, weights)
        return context.float().cpu(), pooled.float().cpu()

    def load_sd(self, sd: dict[str, Tensor]) -> Any:
        """Load weights; ComfyUI's loaders call this."""
        return self.load_state_dict(sd, strict=False)
