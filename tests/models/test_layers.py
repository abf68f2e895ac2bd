"""The recurrent layers against torch.nn's, in float64 where it is about derivatives, and against a loop of replicas."""

import copy
import gc
import io
import pickle
import weakref
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.utils.rnn import pack_sequence

from unroll.models import layers
from unroll.models.layers import gradient
from unroll.models.layers.recurrent import Recurrent

KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {})]
B, W, F, D = 5, 7, 3, 4
RULE = Recurrent._gains


def pair(kind, input_size=F, hidden_size=D, dtype=torch.float64, **options):
    """torch's layer, and ours with its weights."""
    name, more = kind
    oracle = getattr(nn, name)(input_size, hidden_size, **more, **options).to(dtype)
    layer = getattr(layers, name)(input_size, hidden_size, **more, **options).to(dtype)
    layer.load_state_dict(oracle.state_dict())
    return oracle, layer


def states_for(kind, *shape, dtype=torch.float64):
    made = [torch.randn(*shape, dtype=dtype, requires_grad=True) for _ in range(2)]
    return tuple(made) if kind[0] == "LSTM" else made[0]


def flat(found):
    """All tensors of (features, state) or (features, (hidden, memory))."""
    return [found[0], *(found[1] if isinstance(found[1], tuple) else (found[1],))]


def weighted(tensors):
    """A number that every element of every tensor changes in its own way."""
    return sum((tensor * torch.arange(tensor.numel()).view(tensor.shape).sin()).sum() for tensor in tensors)


def both(oracle, layer, past, hx=None):
    """Results and all gradients of the two, dropout drawn from the same seed."""
    given = [past, *(hx if isinstance(hx, tuple) else (hx,))] if hx is not None else [past]
    wanted = [tensor for tensor in given if tensor.requires_grad]
    found = []
    for module in (oracle, layer):
        torch.manual_seed(1)
        results = flat(module(past, hx))
        grads = torch.autograd.grad(weighted(results), [*wanted, *module.parameters()])
        found.append([*results, *grads])
    return found


@pytest.fixture(scope="module", autouse=True)
def always():
    """The second way is taken wherever it can be, also where torch's is the quicker one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recurrent, "_gains", lambda self, input: True)
        yield


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join([kind[0], *kind[1].values()]))
def kind(request):
    return request.param


@pytest.fixture(params=[1, 100, 1 << 19])
def chunk(request, monkeypatch):
    """Whatever pieces the backward pass works in."""
    monkeypatch.setattr(gradient, "CHUNK", request.param)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"num_layers": 3}, {"num_layers": 2, "dropout": 0.4}])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("initial", [True, False])
def test_results_and_gradients_are_torchs(kind, options, batch_first, initial, chunk):
    oracle, layer = pair(kind, batch_first=batch_first, **options)
    past = torch.randn((B, W, F) if batch_first else (W, B, F), dtype=torch.float64, requires_grad=True)
    hx = states_for(kind, oracle.num_layers, B, D) if initial else None
    for one, other in zip(*both(oracle, layer, past, hx), strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(*(st.integers(1, 9) for _ in range(4)), st.integers(1, 3)),
    which=st.sampled_from(KINDS),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_odd_sizes(sizes, which, dtype, seed):
    batch, steps, features, size, count = sizes
    torch.manual_seed(seed)
    oracle, layer = pair(which, features, size, dtype, num_layers=count, batch_first=True)
    past = torch.randn(batch, steps, features, dtype=dtype, requires_grad=True)
    hx = states_for(which, count, batch, size, dtype=dtype)
    for one, other in zip(*both(oracle, layer, past, hx), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("steps", "batch", "size"), [(80, 500, 20), (9, 32, 32), (4, 64, 128)])
def test_float32_at_the_sizes_of_the_experiments(kind, steps, batch, size):
    torch.manual_seed(0)
    oracle, layer = pair(kind, 1, size, torch.float32, batch_first=True)
    past = torch.randn(batch, steps, 1)
    exact = pair(kind, 1, size, torch.float64, batch_first=True)[0]
    exact.load_state_dict(oracle.state_dict())
    torchs, ours = both(oracle, layer, past)
    for one, other, truth in zip(torchs, ours, both(exact, exact, past.double())[0], strict=True):
        scale = truth.abs().max()
        assert (other - truth).abs().max() / scale < max(1e-5, 3 * (one - truth).abs().max() / scale)


@pytest.mark.parametrize("count", [1, 2])
def test_gradcheck(kind, count):
    torch.manual_seed(0)
    layer = pair(kind, 2, 3, num_layers=count, batch_first=True)[1]
    names = [name for name, _ in layer.named_parameters()]
    past = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    hx = states_for(kind, count, 2, 3)

    def run(past, hidden, memory, *weights):
        hx = hidden if memory is None else (hidden, memory)
        return tuple(flat(functional_call(layer, dict(zip(names, weights, strict=True)), (past, hx))))

    given = hx if isinstance(hx, tuple) else (hx, None)
    assert torch.autograd.gradcheck(run, (past, *given, *layer.parameters()))


@pytest.mark.parametrize("options", [{}, {"dropout": 0.4}])
@pytest.mark.parametrize("in_dims", [(0, 0, 0), (0, 1, 2), (0, None, 1), (0, 2, None), (0, None, None), (None, 0, 1)])
def test_vmap_equals_a_loop_over_replicas(kind, in_dims, options):
    """Stacked weights, inputs and states, or shared ones, with autograd outside; K need not fit the other sizes."""
    torch.manual_seed(0)
    count = 3
    modules = [pair(kind, num_layers=2, batch_first=True, **options)[1] for _ in range(count)]
    if in_dims[0] is None:
        modules = [modules[0]] * count
        weights = {name: value.detach().clone().requires_grad_() for name, value in modules[0].named_parameters()}
    else:
        weights = {name: value.detach().requires_grad_() for name, value in stack_module_state(modules)[0].items()}

    def spread(dim, *shape):
        shape = list(shape) if dim is None else [*shape[:dim], count, *shape[dim:]]
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    def one(tensor, dim, k):
        return tensor if dim is None else tensor.select(dim, k)

    past = spread(in_dims[1], B, W, F)
    states = [spread(in_dims[2], 2, B, D) for _ in range(2 if kind[0] == "LSTM" else 1)]

    def run(weights, past, *states):
        return flat(functional_call(modules[0], weights, (past, states if len(states) > 1 else states[0])))

    with layers.replica_generators([torch.Generator().manual_seed(k) for k in range(count)]):
        dims = (in_dims[0], in_dims[1], *[in_dims[2]] * len(states))
        together = vmap(run, dims, randomness="different")(weights, past, *states)
    alone = []
    for k in range(count):
        torch.manual_seed(k)
        own = {name: one(value, in_dims[0], k) for name, value in weights.items()}
        alone.append(run(own, one(past, in_dims[1], k), *(one(state, in_dims[2], k) for state in states)))
    expected = [torch.stack(tensors) for tensors in zip(*alone, strict=True)]
    wanted = [past, *states, *weights.values()]
    for found, other in zip(together, expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-10, atol=1e-12)
    grads = [torch.autograd.grad(weighted(tensors), wanted) for tensors in (together, expected)]
    for found, other in zip(*grads, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-10, atol=1e-12)


def replicas_of(kind, count, strided=False, **options):
    """Layers, and one with all their weights as its parameters: of their own, or views of one flat (K, P) buffer."""
    modules = [pair(kind, **options)[1] for _ in range(count)]
    together = copy.deepcopy(modules[0])
    stacked = stack_module_state(modules)[0]
    flat = torch.cat([value.detach().flatten(1) for value in stacked.values()], dim=1)
    for (name, value), part in zip(
        stacked.items(), flat.split([v[0].numel() for v in stacked.values()], 1), strict=True
    ):
        weight = part.view(value.shape) if strided else value.detach()
        setattr(together, name, nn.Parameter(weight))
    return modules, together


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("options", [{"bias": False}, {"num_layers": 3, "dropout": 0.4}])
def test_weights_of_replicas_equal_vmap_and_a_loop(kind, batch_first, initial, options):
    torch.manual_seed(0)
    count = 3
    modules, direct = replicas_of(kind, count, initial, batch_first=batch_first, **options)
    past = torch.randn(count, *((B, W) if batch_first else (W, B)), F, dtype=torch.float64, requires_grad=True)
    hx = states_for(kind, count, direct.num_layers, B, D) if initial else None
    states = () if hx is None else hx if isinstance(hx, tuple) else (hx,)
    wanted = [past, *states, *direct.parameters()]

    def mapped():
        def run(weights, past, hx):
            return functional_call(modules[0], weights, (past, hx))

        dims = (0, 0, None if hx is None else 0)
        return vmap(run, dims, randomness="different")(dict(direct.named_parameters()), past, hx)

    def looped():
        found = []
        for k in range(count):
            torch.manual_seed(k)
            own = {name: value[k] for name, value in direct.named_parameters()}
            given = tuple(state[k] for state in states)
            given = (given if len(given) > 1 else given[0]) if given else None
            found.append(flat(functional_call(modules[0], own, (past[k], given))))
        expected = [torch.stack(tensors) for tensors in zip(*found, strict=True)]
        return expected[0], tuple(expected[1:])

    results = []
    for run in (lambda: direct(past, hx), mapped, looped):
        generators = [torch.Generator().manual_seed(k) for k in range(count)]
        with nullcontext() if run is looped else layers.replica_generators(generators):
            found = flat(run())
        results.append([*found, *torch.autograd.grad(weighted(found), wanted)])
    for ours, vmapped, alone in zip(*results, strict=True):
        assert ours.shape == vmapped.shape
        torch.testing.assert_close(ours, vmapped, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(ours, alone, rtol=1e-10, atol=1e-12)


def test_gradcheck_of_replicas(kind):
    torch.manual_seed(0)
    direct = replicas_of(kind, 2, input_size=2, hidden_size=3, batch_first=True)[1]
    names = [name for name, _ in direct.named_parameters()]
    past = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)

    def run(past, *weights):
        return tuple(flat(functional_call(direct, dict(zip(names, weights, strict=True)), (past,))))

    assert torch.autograd.gradcheck(run, (past, *direct.parameters()))


def test_replicas_of_one_row_and_wrong_numbers_of_them(kind):
    modules, direct = replicas_of(kind, 2, num_layers=2, batch_first=True)
    past = torch.randn(2, W, F, dtype=torch.float64)
    for k, found in enumerate(zip(*flat(direct(past)), strict=True)):
        for one, other in zip(found, flat(modules[k](past[k])), strict=True):
            torch.testing.assert_close(one, other)
    with pytest.raises(ValueError, match="different numbers of replicas"):
        direct(torch.randn(3, B, W, F, dtype=torch.float64))
    with pytest.raises((RuntimeError, ValueError), match="input"):
        direct(torch.randn(2, B, W, F + 1, dtype=torch.float64))


def test_vmap_inside_vmap_and_gradients_inside_vmap(kind):
    torch.manual_seed(0)
    modules = [pair(kind, batch_first=True)[1] for _ in range(2)]
    weights = {name: value.detach() for name, value in stack_module_state(modules)[0].items()}
    past = torch.randn(2, 3, B, W, F, dtype=torch.float64)

    def loss(weights, past):
        return weighted(flat(functional_call(modules[0], weights, (past,))))

    values = vmap(vmap(loss, (None, 0)))(weights, past)
    grads = vmap(vmap(grad(loss), (None, 0)))(weights, past)
    for k, module in enumerate(modules):
        for row in range(3):
            value = weighted(flat(module(past[k, row])))
            torch.testing.assert_close(values[k, row], value.detach())
            own = torch.autograd.grad(value, list(module.parameters()))
            for name, expected in zip(dict(module.named_parameters()), own, strict=True):
                torch.testing.assert_close(grads[name][k, row], expected)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}])
def test_the_last_feature_alone(kind, options, batch_first):
    oracle, layer = pair(kind, batch_first=batch_first, **options)
    for past in (torch.randn((B, W, F) if batch_first else (W, B, F)).double(), torch.randn(W, F).double()):
        time = -3 if past.dim() == 3 and not batch_first else -2
        expected, found = oracle(past)[0].select(time, -1), layer.last(past)
        torch.testing.assert_close(found, expected)
        grads = [torch.autograd.grad(weighted([a]), m.parameters()) for a, m in ((expected, oracle), (found, layer))]
        for one, other in zip(*grads, strict=True):
            torch.testing.assert_close(one, other)
    if not options.get("bidirectional"):
        direct = replicas_of(kind, 2, batch_first=batch_first, **options)[1]
        past = torch.randn(2, *((B, W) if batch_first else (W, B)), F, dtype=torch.float64)
        torch.testing.assert_close(direct.last(past), direct(past)[0].select(-2 if batch_first else -3, -1))
        torch.testing.assert_close(direct.last(past[:, 0]), direct(past[:, 0])[0][:, -1])


def test_frozen_parts_get_no_gradient(kind):
    oracle, layer = pair(kind, num_layers=2, batch_first=True)
    past = torch.randn(B, W, F, dtype=torch.float64)
    for module in (oracle, layer):
        for name, weight in module.named_parameters():
            weight.requires_grad_("hh" in name)
        weighted(flat(module(past))).backward()
    for one, other in zip(oracle.parameters(), layer.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)
    weighted(flat(layer.requires_grad_(False)(past.requires_grad_()))).backward()
    assert past.grad is not None


@pytest.mark.parametrize("part", [0, 1])
def test_features_alone_or_states_alone_carry_gradients(kind, part):
    oracle, layer = pair(kind, batch_first=True)
    past = torch.randn(B, W, F, dtype=torch.float64)
    found = []
    for module in (oracle, layer):
        results = flat(module(past))
        found.append(torch.autograd.grad(weighted(results[1:] if part else results[:1]), list(module.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_without_gradients_the_results_are_the_same(kind):
    layer = pair(kind, num_layers=2, batch_first=True, dropout=0.4)[1].eval()
    past = torch.randn(B, W, F, dtype=torch.float64)
    expected = flat(layer(past))
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            for one, other in zip(flat(layer(past)), expected, strict=True):
                assert torch.equal(one, other)


def test_two_calls_are_equal_to_the_last_bit(kind):
    layer = pair(kind, dtype=torch.float32, num_layers=2, batch_first=True)[1]
    past = torch.randn(B, W, F)
    first, second = both(layer, layer, past)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_backward_twice_over_a_kept_graph_and_features_changed_in_place(kind):
    layer = pair(kind, batch_first=True)[1]
    value = weighted(flat(layer(torch.randn(B, W, F, dtype=torch.float64))))
    first, second = (torch.autograd.grad(value, list(layer.parameters()), retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    features = layer(torch.randn(B, W, F, dtype=torch.float64))[0]
    with pytest.raises(RuntimeError, match=r"in-?place"):
        features.mul_(2).sum().backward()


def test_a_second_derivative_is_refused(kind):
    layer = pair(kind, batch_first=True)[1]
    features = layer(torch.randn(B, W, F, dtype=torch.float64))[0]
    (found,) = torch.autograd.grad(features.square().sum(), [layer.weight_hh_l0], create_graph=True)
    with pytest.raises(NotImplementedError, match=r"no second derivative: use torch\.nn's"):
        found.sum().backward()


def test_memory_is_given_back(kind):
    layer = pair(kind, batch_first=True)[1]
    features = layer(torch.randn(B, W, F, dtype=torch.float64))[0]
    gone = weakref.ref(features.grad_fn)
    gc.disable()
    try:
        del features
        assert gone() is None  # no cycle
    finally:
        gc.enable()


def test_state_dict_pickle_and_copy(kind):
    oracle, layer = pair(kind, dtype=torch.float32, num_layers=2, batch_first=True)
    assert list(layer.state_dict()) == list(oracle.state_dict())
    oracle.load_state_dict(layer.state_dict())
    assert isinstance(layer, type(oracle))
    assert repr(layer) == repr(oracle)
    past = torch.randn(B, W, F)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(past)[0], layer(past)[0])
    torch.manual_seed(3)
    one = getattr(nn, kind[0])(F, D)
    torch.manual_seed(3)
    other = getattr(layers, kind[0])(F, D)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_unbatched_input(kind):
    oracle, layer = pair(kind, num_layers=2, batch_first=True)
    past = torch.randn(W, F, dtype=torch.float64)
    for hx in (None, states_for(kind, 2, D)):
        for one, other in zip(*both(oracle, layer, past, hx), strict=True):
            assert one.shape == other.shape
            torch.testing.assert_close(one, other)


def test_wrong_shapes_are_refused_as_torch_refuses_them(kind):
    oracle, layer = pair(kind, dtype=torch.float32, batch_first=True)
    for past, hx in (
        (torch.randn(B, W, F + 1), None),
        (torch.randn(B, W, F).double(), None),
        (torch.randn(B, W, F), states_for(kind, 2, B, D)),
        (torch.randn(B, W, F), states_for(kind, 1, D)),
        (torch.randn(F), None),
    ):
        messages = []
        for module in (oracle, layer):
            with pytest.raises((RuntimeError, ValueError)) as caught:
                module(past, hx)
            messages.append(str(caught.value).split(":")[-1])
        assert messages[0] == messages[1]


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
def test_torchs_own_way_for_what_only_it_knows(kind):
    past = torch.randn(B, W, F)
    more = [{"bidirectional": True}, {"proj_size": 2}] if kind[0] == "LSTM" else [{"bidirectional": True}]
    for options in more:
        oracle, layer = pair(kind, dtype=torch.float32, batch_first=True, **options)
        assert torch.equal(layer(past)[0], oracle(past)[0])
        weights = {name: value.detach() for name, value in stack_module_state([layer] * 2)[0].items()}
        with pytest.raises(NotImplementedError, match=f"{kind[0]} cannot be replicated with {next(iter(options))}"):
            vmap(lambda weights, run=layer: functional_call(run, weights, (past,))[0])(weights)
        with pytest.raises(NotImplementedError, match=f"{kind[0]} cannot be replicated with {next(iter(options))}"):
            functional_call(layer, weights, (past.expand(2, *past.shape),))
    oracle, layer = pair(kind, dtype=torch.float32, batch_first=True)
    packed = pack_sequence([past[0], past[1, :4]])
    assert torch.equal(layer(packed)[0].data, oracle(packed)[0].data)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(past)[0], oracle(past)[0])
    assert torch.equal(layer.bfloat16()(past.bfloat16())[0], oracle.bfloat16()(past.bfloat16())[0])


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")
def test_exported_networks_are_torchs(kind):
    oracle, layer = pair(kind, dtype=torch.float32, batch_first=True)
    past = torch.randn(B, W, F)
    for module in (oracle, layer):
        module.eval()
    ours, torchs = (torch.export.export(module, (past,)) for module in (layer, oracle))
    assert [node.target for node in ours.graph.nodes] == [node.target for node in torchs.graph.nodes]
    torch.testing.assert_close(ours.module()(past)[0], layer(past)[0])


@pytest.mark.filterwarnings("ignore")
def test_traced_networks_are_torchs(kind):
    layer = pair(kind, dtype=torch.float32, batch_first=True)[1].eval()
    past = torch.randn(B, W, F)
    traced = torch.jit.trace(layer, (past,))
    assert any(name in str(traced.inlined_graph) for name in ("aten::gru", "aten::lstm", "aten::rnn"))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    torch.testing.assert_close(torch.jit.load(file)(past)[0], layer(past)[0])


def test_a_row_changes_no_feature_before_it_and_no_neighbour(kind):
    layer = pair(kind, dtype=torch.float32, num_layers=2, batch_first=True)[1]
    past = torch.randn(B, W, F)
    before = layer(past)[0]
    changed = past.clone()
    changed[2, 4] = torch.nan
    after = layer(changed)[0]
    assert torch.equal(before[:, :4], after[:, :4])
    others = [0, 1, 3, 4]
    torch.testing.assert_close(before[others], after[others])
    assert after[2, 4:].isnan().all() or kind[1]


def test_replicas_draw_the_masks_of_their_single_runs():
    dropout = layers.Dropout(0.3)
    values = torch.ones(3, B, D)
    with layers.replica_generators([torch.Generator().manual_seed(k) for k in range(3)]):
        masks = vmap(dropout, randomness="different")(values)
        again = vmap(dropout, randomness="different")(values)
    with layers.replica_generators([torch.Generator().manual_seed(k) for k in range(3)]):
        assert torch.equal(layers.drop_replicas(values, 0.3), masks)
        assert torch.equal(layers.drop_replicas(values, 0.3), again)
    assert not torch.equal(masks, again)
    assert torch.equal(layers.drop_replicas(values, 0), values)
    for k in range(3):
        torch.manual_seed(k)
        assert torch.equal(masks[k], dropout(values[k]))
        torch.manual_seed(k)
        assert torch.equal(masks[k], nn.functional.dropout(values[k], 0.3))
    with layers.replica_generators([torch.Generator()]), pytest.raises(ValueError, match="1 generators for 3 replicas"):
        vmap(dropout, randomness="different")(values)
    with layers.replica_generators([torch.Generator()]), pytest.raises(ValueError, match="1 generators for 3 replicas"):
        layers.drop_replicas(values, 0.3)
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(dropout)(values)
    same = vmap(dropout, randomness="same")(values)
    assert torch.equal(same[0], same[1])
    torch.manual_seed(0)
    different = vmap(dropout, randomness="different")(values)
    torch.manual_seed(0)
    assert torch.equal(layers.drop_replicas(values, 0.3), different)
    assert not torch.equal(different[0], different[1])
    assert torch.equal(dropout.eval()(values), values)
    assert torch.equal(layers.Dropout(1.0)(values), torch.zeros_like(values))


@pytest.mark.parametrize("sizes", [(9, 32, 32), (80, 500, 20), (3, 1, 8), (4, 64, 128)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whichever_way_is_the_quicker_one_the_results_and_masks_agree(kind, sizes, dtype, monkeypatch):
    monkeypatch.setattr(Recurrent, "_gains", RULE)
    steps, batch, size = sizes
    oracle, layer = pair(kind, 1, size, dtype, num_layers=2, dropout=0.4, batch_first=True)
    past = torch.randn(batch, steps, 1, dtype=dtype)
    for one, other in zip(*both(oracle, layer, past), strict=True):
        assert (one - other).abs().max() <= 2e-5 * one.abs().max()
    layer._gains = lambda input: True
    for one, other in zip(*both(oracle, layer, past), strict=True):
        assert (one - other).abs().max() <= 2e-5 * one.abs().max()


@pytest.mark.parametrize(
    ("name", "sizes", "trains", "gains"),
    [
        ("GRU", (80, 500, 20), True, True),
        ("GRU", (9, 32, 32), False, False),
        ("GRU", (9, 32, 32), True, True),
        ("GRU", (3, 32, 32), True, False),
        ("GRU", (4, 64, 128), True, False),
        ("RNN", (3, 32, 32), True, False),
        ("RNN", (9, 32, 32), True, True),
        ("RNN", (9, 500, 32), False, True),
        ("LSTM", (80, 500, 20), True, True),
        ("LSTM", (9, 32, 32), True, not torch.backends.mkldnn.is_available()),
    ],
)
def test_the_quicker_way_is_taken(name, sizes, trains, gains, monkeypatch):
    monkeypatch.setattr(Recurrent, "_gains", RULE)
    steps, batch, size = sizes
    layer = pair((name, {}), 1, size, torch.float32, batch_first=True)[1]
    with torch.set_grad_enabled(trains):
        assert layer._gains(torch.randn(batch, steps, 1)) == gains
