"""Models of transformers on packed batches: each document's logits are those of it alone."""

from typing import Any

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from codedata import PackedCollator
from codedata.pickle_dataset import PickledTrainerDataset
from codedata_tests.scenario import write_document_dataset

SEQ_LENGTH = 24
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,  # so that attention changes logits by more than rounding does
}
GPT2_SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}

SIZES_OF: dict[str, dict[str, Any]] = {
    "llama": SIZES,
    "qwen2": SIZES,
    "qwen3": SIZES | {"head_dim": 8},
    "mistral": SIZES | {"sliding_window": 4},
    "starcoder2": SIZES | {"sliding_window": 4},
    "phi3": SIZES,
    "olmo2": SIZES,
    "granite": SIZES,
    "gpt_neox": SIZES,
    "gpt2": GPT2_SIZES,
    "gpt_bigcode": GPT2_SIZES,
}
LET_DOCUMENTS_SEE_EACH_OTHER = {
    "opt": {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 32, "init_std": 0.2}
    | {"num_hidden_layers": 2, "num_attention_heads": 4},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2},
}
"""They take their positions from the mask, or none at all."""


def by_campaign(value: str) -> Any:
    return pytest.param(value, marks=pytest.mark.campaign)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[PickledTrainerDataset, Any]:
    """Documents of one token and up, cut ones, several a sample, and padding."""
    folder = tmp_path_factory.mktemp("packed") / "set"
    chunks = [(9, 3, 40, 0, 5, 17, 1, 30), (12, 7, 2, 33, 6)]
    dataset = PickledTrainerDataset(
        write_document_dataset(folder, chunks, seq_length=SEQ_LENGTH), quiet=True
    )
    spans = [dataset.documents(i) for i in range(len(dataset))]
    assert max(map(len, spans)) == 3
    assert {1, 24} <= {span.stop - span.start for each in spans for span in each}
    return dataset, spans


def model_of(architecture: str, attention: str, **sizes: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        architecture, vocab_size=1024, pad_token_id=0, bos_token_id=None, eos_token_id=None, **sizes
    )
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    return model.eval()


def farthest(
    samples: tuple[PickledTrainerDataset, Any], model: Any, logits: torch.Tensor
) -> tuple[float, float]:
    """How far logits (samples, tokens, ids) are from those of documents alone, and their loss's."""
    dataset, spans = samples
    worst, losses = 0.0, []
    for sample, row, of_sample in zip(dataset, logits, spans, strict=True):
        for span in of_sample:
            ids = sample["input_ids"][None, span.start : span.stop]
            alone = model(input_ids=ids, use_cache=False).logits[0]
            worst = max(worst, float((row[span.start : span.stop] - alone).abs().max()))
            losses += cross_entropy(alone[:-1], ids[0, 1:], reduction="none").tolist()
    return worst, sum(losses) / len(losses)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", ["llama", *map(by_campaign, list(SIZES_OF)[1:])])
def test_each_document_has_the_logits_and_the_loss_of_it_alone(
    samples: tuple[PickledTrainerDataset, Any], architecture: str, attention: str
) -> None:
    model = model_of(architecture, attention, **SIZES_OF[architecture])
    dataset, _ = samples
    for flattened in (False, True):
        batch = PackedCollator(dataset, flattened=flattened)(list(dataset))
        output = model(**batch, use_cache=False)
        logits = output.logits.view(len(dataset), SEQ_LENGTH, -1)
        worst, loss = farthest(samples, model, logits)
        assert worst < 1e-5
        assert float(output.loss) == pytest.approx(loss, abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_without_positions_or_with_a_mask_or_a_cache_documents_see_each_other(
    samples: tuple[PickledTrainerDataset, Any], attention: str
) -> None:
    """The controls, and the traps that DatasetProvenance refuses."""
    dataset, _ = samples
    model = model_of("llama", attention, **SIZES)
    assert model.config.use_cache, "as a config has it"
    batch = PackedCollator(dataset)(list(dataset))
    ids, positions = batch["input_ids"], batch["position_ids"]
    for options in (
        {"use_cache": False},
        {"use_cache": False, "position_ids": positions, "attention_mask": torch.ones_like(ids)},
        {"position_ids": positions},
    ):
        worst, _ = farthest(samples, model, model(input_ids=ids, **options).logits)
        assert worst > 0.1


@torch.no_grad()
@pytest.mark.campaign
@pytest.mark.parametrize("architecture", LET_DOCUMENTS_SEE_EACH_OTHER)
def test_the_models_that_docs_name_do_not_keep_documents_apart(
    samples: tuple[PickledTrainerDataset, Any], architecture: str
) -> None:
    dataset, _ = samples
    model = model_of(architecture, "eager", **LET_DOCUMENTS_SEE_EACH_OTHER[architecture])
    batch = PackedCollator(dataset)(list(dataset))
    worst, _ = farthest(samples, model, model(**batch, use_cache=False).logits)
    assert worst > 0.1


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")  # torch's own of flex attention
@pytest.mark.parametrize(
    "stance", [by_campaign("force_eager"), pytest.param("default", marks=pytest.mark.long)]
)
def test_flex_attention_keeps_documents_apart_by_positions_and_by_our_block_mask(
    samples: tuple[PickledTrainerDataset, Any], stance: str
) -> None:
    """Without its compiler, and by hand with it, which takes half a minute."""
    dataset, _ = samples
    model = model_of("llama", "flex_attention", **SIZES)
    alone = model_of("llama", "eager", **SIZES)
    batch = PackedCollator(dataset)(list(dataset))
    ids, positions = batch["input_ids"], batch["position_ids"]
    with torch.compiler.set_stance(stance):
        for mask in (None, PackedCollator.block_mask(positions)):
            options = {"position_ids": positions, "attention_mask": mask, "use_cache": False}
            logits = model(input_ids=ids, **options).logits
            assert farthest(samples, alone, logits)[0] < 1e-5


def attention_by_bounds(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """What flash attention's varlen kernels compute, by nothing but the bounds of a batch."""
    assert attention_mask is None
    assert query.shape[0] == 1
    assert options["max_length_q"] == options["cu_seq_lens_q"].diff().max()
    cut = options["cu_seq_lens_k"][1:-1].tolist()
    documents = zip(*(each.tensor_split(cut, dim=2) for each in (query, key, value)), strict=True)
    seen = [
        scaled_dot_product_attention(*each, is_causal=True, enable_gqa=True) for each in documents
    ]
    return torch.cat(seen, dim=2).transpose(1, 2).contiguous(), None


@torch.no_grad()
def test_the_bounds_of_a_flattened_batch_reach_attention_and_keep_documents_apart(
    samples: tuple[PickledTrainerDataset, Any],
) -> None:
    """As flash attention goes by them, which needs a GPU."""
    transformers.AttentionInterface.register("by_bounds", attention_by_bounds)
    dataset, _ = samples
    batch = PackedCollator(dataset, flattened=True)(list(dataset))
    logits = model_of("llama", "by_bounds", **SIZES)(**batch, use_cache=False).logits
    alone = model_of("llama", "eager", **SIZES)
    assert farthest(samples, alone, logits.view(len(dataset), SEQ_LENGTH, -1))[0] < 1e-5
