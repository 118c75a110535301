"""A graph's text: equal for equal graphs whatever the numbers, and another one for each difference."""

import pytest
import torch

from rl_il.infrastructure.recorded import describe_graph


def scaled(factor):
    def function(x, total):
        total += factor * x.square().sum()
        return (total,)

    return function


def with_gradient(x, total):
    with torch.enable_grad():
        variable = x.detach().requires_grad_()
        loss = variable.square().sum()
    (gradient,) = torch.autograd.grad(loss, variable)
    total += gradient.sum()
    return (total,)


def inputs(n=3, dtype=torch.float32, value=1.0):
    return [torch.full((n,), value, dtype=dtype), torch.zeros(())]


def test_the_numbers_in_the_inputs_do_not_matter_and_do_not_change():
    given = inputs(value=5.0)
    assert describe_graph(with_gradient, given) == describe_graph(with_gradient, inputs(value=-2.0))
    assert given[0].tolist() == [5, 5, 5] and given[1] == 0


def test_each_operation_is_a_line_with_its_arguments():
    lines = describe_graph(scaled(2.0), inputs()).splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == [
        f"aten.{name}" for name in ("pow.Tensor_Scalar", "sum.default", "mul.Tensor", "add_.Tensor")
    ]
    assert "2.0" in lines[4]


constants = {value: torch.tensor([value, 0.0, 0.0]) for value in (1.0, 2.0)}
FIRST = (scaled(2.0), inputs())
OTHERS = {
    "a number": (scaled(3.0), inputs()),
    "an operation": (with_gradient, inputs()),
    "a shape": (scaled(2.0), inputs(n=4)),
    "a type": (scaled(2.0), inputs(dtype=torch.float64)),
    "a stride": (scaled(2.0), [torch.ones(6)[::2], torch.zeros(())]),
    "an order": (lambda x, total: scaled(2.0)(total, x), inputs()),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_graph_has_another_text(what):
    assert describe_graph(*OTHERS[what]) != describe_graph(*FIRST)


def test_a_constant_is_described_by_its_content():
    texts = [describe_graph(lambda x, total, c=c: (x * c,), inputs()) for c in constants.values()]
    again = describe_graph(lambda x, total: (x * constants[1.0].clone(),), inputs())
    assert texts[0] != texts[1]
    assert describe_graph(lambda x, total: (x * torch.tensor([1.0, 0.0, 0.0]),), inputs()) != again
    assert texts[0] == describe_graph(lambda x, total: (x * constants[1.0],), inputs())
