"""The export of encoders of every usual make: small ones with random weights, built from their configurations."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from transformers import AutoModel

from earful.bundle import open_session
from training import export
from training.network import FeedbackNetwork

SMALL: dict[str, Any] = {
    "vocab_size": 200, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
    "max_position_embeddings": 64,
}  # fmt: skip
ENCODERS: dict[str, dict[str, Any]] = {
    "Bert": {},
    "Roberta": {},
    "XLMRoberta": {},
    "MPNet": {},
    "Electra": {"embedding_size": 64},
    "DebertaV2": {},
    "DistilBert": {"hidden_dim": 128},
    "ModernBert": {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
}
SAMPLE = [[6, 7, 8, 9] * 4, [10, 20, 30, 40, 50] * 3]


def network(name: str) -> FeedbackNetwork:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **ENCODERS[name]})
    return FeedbackNetwork(AutoModel.from_config(config), categories=5, levels=4).eval()


def answer(model: bytes, ids: torch.Tensor, mask: torch.Tensor) -> list[NDArray[np.float32]]:
    session = open_session(model)
    found: list[NDArray[np.float32]] = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    return found


def test_the_largest_products_do_not_overflow_on_any_processor() -> None:
    weights = numpy_helper.from_array(np.full((64, 4), 127, dtype=np.int8), "b")
    one = numpy_helper.from_array(np.array(1, dtype=np.float32), "one")
    node = helper.make_node("MatMulIntegerToFloat", ["a", "b", "one", "one"], ["y"], domain="com.microsoft")
    inputs = [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 64])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])]
    graph = helper.make_graph([node], "products", inputs, outputs, [weights, one])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    [found] = open_session(model.SerializeToString()).run(None, {"a": np.full((1, 64), 255, dtype=np.uint8)})
    np.testing.assert_array_equal(found, np.full((1, 4), 64 * 255 * 127))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ENCODERS)
def test_an_exported_encoder_answers_as_the_network_in_any_batch(name: str) -> None:
    net = network(name)
    ids = torch.randint(5, 200, (3, 20))
    mask = torch.ones_like(ids)
    mask[1, 12:] = 0
    with torch.no_grad():
        wanted = [part.numpy() for part in net.windows(ids, mask).values()]
    model = export.to_onnx(net)
    for precision, near in (("float32", 0.001), ("int8", 0.25)):
        made = export.at(precision, model, SAMPLE, 0)  # type: ignore[arg-type]
        together = answer(made, ids, mask)
        for found, right in zip(together, wanted, strict=True):
            assert np.abs(found - right).max() <= near * right.std()
        alone = answer(made, ids[1:2, :12], mask[1:2, :12])
        for found, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(found[1], one[0], atol=1e-4)
