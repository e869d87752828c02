"""Checks with lm-eval, whose log likelihoods must be those of `trestle perplexity`."""

import json
import subprocess
from contextlib import redirect_stderr
from functools import cached_property
from pathlib import Path

import lm_eval
from lm_eval.tasks import TaskManager

from client_checks.common import same

# Sentences of several lengths; all of them are in the public domain.
TEXTS = [
    "Shall I compare thee to a summer's day? Thou art more lovely and more temperate: rough winds do shake the "
    "darling buds of May, and summer's lease hath all too short a date.",
    "The raven himself is hoarse that croaks the fatal entrance of Duncan under my battlements. Come, you spirits "
    "that tend on mortal thoughts, unsex me here, and fill me from the crown to the toe top-full of direst "
    "cruelty; make thick my blood, stop up the access and passage to remorse.",
    "O, what a rogue and peasant slave am I! Is it not monstrous that this player here, but in a fiction, in a "
    "dream of passion, could force his soul so to his own conceit that from her working all his visage wann'd; "
    "tears in his eyes, distraction in's aspect, a broken voice, and his whole function suiting with forms to "
    "his conceit? And all for nothing! For Hecuba! What's Hecuba to him, or he to Hecuba, that he should weep "
    "for her?",
]


class LMEval:
    """The harness measures what `trestle perplexity` measures, without another tokenizer than the server's."""

    # Logits are the same whichever workers compute them, so nothing but the order of sums of doubles may differ.
    TOLERANCE = 1e-9

    def __init__(self, pipeline, model):
        self._pipeline, self._name = pipeline, model
        self._parts = [self._split(text) for text in TEXTS]

    def _encode(self, text, special=False):
        _, _, answer = self._pipeline.ask("POST", "/tokenize", {"prompt": text, "add_special_tokens": special})
        return json.loads(answer)["tokens"]

    def _split(self, text):
        """A text, and the part of it whose tokens come before the half that `trestle perplexity` scores.

        Words are taken from the end of the text until the part has the same tokens alone as in the whole.
        """
        while True:
            tokens = self._encode(text, special=True)
            head = tokens[1 : len(tokens) // 2 + 1]
            _, _, answer = self._pipeline.ask("POST", "/detokenize", {"tokens": head})
            part = json.loads(answer)["prompt"]
            if part == part.rstrip() and self._encode(part) == head:
                return text, part
            text = text[: text.rindex(" ")]

    def _task(self, name, documents, **fields):
        path = Path(self._pipeline.directory, f"{name}.json")
        path.write_text("".join(json.dumps(document) + "\n" for document in documents))
        return {
            "task": name, "dataset_path": "json", "test_split": "test", "target_delimiter": "", **fields,
            "dataset_kwargs": {"data_files": {"test": str(path)}, "cache_dir": str(path.parent)},
        }

    @cached_property
    def _samples(self):
        """What the harness got for each task and document."""
        return self._evaluate(batch_size=1)

    def _evaluate(self, **options):
        server = {
            "model": self._name, "base_url": f"{self._pipeline.url}/v1/completions",
            "tokenizer_backend": "remote", "max_retries": 1,
        }
        # It shows its progress, whatever it is told.
        with open(Path(self._pipeline.directory, "lm-eval.log"), "a") as log, redirect_stderr(log):
            results = lm_eval.simple_evaluate(
                model="local-completions", model_args={**server, **options}, tasks=self._tasks(),
                task_manager=TaskManager(include_defaults=False), bootstrap_iters=0)
        samples = results["samples"]
        return {name: [sample["resps"][0][0] for sample in several] for name, several in samples.items()}

    def _tasks(self):
        pairs = []
        for text, part in self._parts:
            for context, rest in (("", text), ("", part), ("<bos>" + part, text[len(part) :])):
                pairs.append({"context": context, "text": rest})
        greedy = [
            {"context": "<bos>" + text, "text": rest}
            for text, _ in self._parts for rest in (self._continue(text), " zebra")
        ]
        texts = [{"text": text} for text, _ in self._parts]
        likelihood = {
            "output_type": "loglikelihood", "doc_to_text": "{{context}}", "doc_to_target": "{{text}}",
            "metric_list": [{"metric": "acc"}],
        }
        rolling = {
            "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
            "metric_list": [{"metric": "byte_perplexity"}],
        }
        generate = {
            "output_type": "generate_until", "doc_to_text": "{{text}}", "doc_to_target": "",
            "generation_kwargs": {"until": ["e"], "max_gen_toks": 32, "temperature": 0},
            "metric_list": [{"metric": "bypass"}],
        }
        return [
            self._task("pairs", pairs, **likelihood), self._task("greedy", greedy, **likelihood),
            self._task("whole", texts, **rolling), self._task("words", texts, **generate),
        ]

    def _complete(self, prompt, count):
        ask = {"prompt": prompt, "max_tokens": count, "temperature": 0}
        return json.loads(self._pipeline.ask("POST", "/v1/completions", ask)[2])["choices"][0]["text"]

    def _continue(self, text):
        """What the model itself goes on with, so far that the text has the same tokens before it as alone."""
        for count in range(6, 0, -1):
            rest = self._complete(text, count)
            if self._encode(text + rest)[:-count] == self._encode(text):
                return rest
        raise AssertionError(f"nothing continues {text!r} token by token")

    @cached_property
    def _wanted(self):
        """The log likelihoods of the latter halves, by `trestle perplexity`: sums and numbers of tokens."""
        return [self._measure(text) for text, _ in self._parts]

    def _measure(self, text):
        path = Path(self._pipeline.directory, "text")
        path.write_text(text)
        line = [
            self._pipeline.trestle, "perplexity", "--model", self._pipeline.model, "--file", path, "--json",
            "--devices", "cpu", "--threads", "2", "--context", str(len(self._encode(text, special=True))),
        ]
        measured = json.loads(subprocess.run(line, stdout=subprocess.PIPE, check=True).stdout)
        return -measured["negative_log_likelihood"] * measured["scored_tokens"], measured["scored_tokens"]

    def _compare(self, sums):
        for actual, (wanted, count) in zip(sums, self._wanted, strict=True):
            assert abs(actual - wanted) <= self.TOLERANCE * count, (actual, wanted, count)

    def likelihoods_of_halves_are_those_of_perplexity(self):
        self._compare([total for total, _ in self._samples["pairs"][2::3]])

    def a_whole_less_its_first_half_is_the_same(self):
        sums = [total for total, _ in self._samples["pairs"]]
        self._compare([whole - part for whole, part in zip(sums[0::3], sums[1::3])])

    def rolling_likelihoods_are_those_of_wholes(self):
        same(self._samples["whole"], [total for total, _ in self._samples["pairs"][0::3]])

    def the_likeliest_continuation_is_known_as_that(self):
        same([is_greedy for _, is_greedy in self._samples["greedy"]], [True, False] * len(self._parts))

    def batches_and_concurrent_requests_change_nothing(self):
        same(self._evaluate(batch_size=4), self._samples)
        same(self._evaluate(batch_size=1, num_concurrent=4), self._samples)

    def words_are_generated_until_a_text(self):
        for (text, _), words in zip(self._parts, self._samples["words"], strict=True):
            same(words, self._complete([self._encode(text)], 32).split("e")[0])
