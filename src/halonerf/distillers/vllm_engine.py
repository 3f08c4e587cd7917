"""Labels from a language model that vLLM runs in this process, constrained to a schema during decoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from halonerf.distillers.llm.answer_cache import Reply
from halonerf.distillers.llm.prompts import Messages
from halonerf.distillers.llm.vllm_base import ShardReader, VllmDistiller, mean_token_probability
from halonerf.errors import BadInput, MissingArtifact, MissingExtra, first_line


class VllmEngine(VllmDistiller):
    """A `LabelDistiller` around vLLM's offline `LLM`; see `LanguageDistiller` for the options that all models share.

    Raises: MissingExtra without vLLM; MissingArtifact, BadInput: the weights are not there, or vLLM cannot run them.
    """

    @classmethod
    def answer_with_ray(
        cls, options: Mapping[str, Any], shards: Sequence[int], read: ShardReader, folder: Path, workers: int
    ) -> dict[str, Any]:
        """Compute all shards' answers through Ray Data; see `halonerf.distillers.llm.vllm_ray.answer_with_ray`."""
        from halonerf.distillers.llm.vllm_ray import answer_with_ray

        return answer_with_ray(options, shards, read, folder, workers)

    def start(self) -> None:
        """Load the model into an engine of this process."""
        try:
            from vllm import LLM, SamplingParams
            from vllm.sampling_params import StructuredOutputsParams
        except ImportError as error:
            raise MissingExtra("vllm", "vllm") from error
        try:
            self.engine = LLM(model=self.model, **self.engine_options)
        except OSError as error:
            raise MissingArtifact(
                f"expected a language model in '{self.model}' (a hub id or a local folder), but could not read it: "
                f"{first_line(error)}\n"
                f"Download it on a machine with network access with: hf download {self.model} --local-dir DIR\n"
                "and use it with: distiller.weights=DIR"
            ) from error
        except (ValueError, RuntimeError) as error:
            raise BadInput(
                f"expected vLLM to run '{self.model}', but: {first_line(error)}\nSee the lines above. To use less "
                "memory: distiller.context=2048 distiller.memory=0.6 distiller.dtype=bfloat16"
            ) from error
        constraint = StructuredOutputsParams(json=self.schema) if self.schema else None
        self.parameters = SamplingParams(**self.sampling_options, structured_outputs=constraint)
        self.tokenizer = self.engine.get_tokenizer()

    def query(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        """Replies to all prompts in one call, which vLLM batches itself; prompts that are too long are not sent."""
        encoded = self.encode_prompts(prompts)
        fitting = [place for place, tokens in enumerate(encoded) if len(tokens) <= self.max_prompt_tokens]
        yield from ((place, Reply("", failure="too_long")) for place in set(range(len(prompts))) - set(fitting))
        requests: list[Any] = [{"prompt_token_ids": encoded[place]} for place in fitting]
        outputs = self.engine.generate(requests, self.parameters, use_tqdm=False) if requests else []
        for place, output in zip(fitting, outputs, strict=True):
            completion = output.outputs[0]
            yield (
                place,
                Reply(
                    completion.text,
                    len(output.prompt_token_ids or ()),
                    len(completion.token_ids),
                    mean_token_probability(completion.cumulative_logprob, len(completion.token_ids)),
                    "" if completion.finish_reason == "stop" else f"ended_by_{completion.finish_reason}",
                ),
            )
