"""A forward over few tokens on a CPU, flat: what transformers' module does, by `kernels.py` alone.

The tokens are of one line, or of several that are read together: matrices multiply the rows of all,
states and pages are each line's own.

A token's work is to read the weights once. The module spends as long again between them: hundreds
of small operations, and a call of Python for each. Here one function goes through the layers of a
Qwen3.5; matrices that multiply the same rows are one call, and everything is float32 between them.
Weights, states and what is kept of them are the module's and the state's own, so that either may
read any token of a line; tests hold both to the same logits. Where there is something unknown,
`DecodeStep.of` returns None and the module does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.attention import attend
from inference.kernels import (
    KINDS,
    MAX_HEAD_DIM,
    DeltaSizes,
    Kernels,
    Matrices,
    Matrix,
    Norm,
    plain_matrix,
)
from inference.kv_codec import Int4
from inference.linear_state import Inputs, Ran
from inference.packed import LinearStates
from inference.pages import Run, joined
from inference.quantize import StackLinear
from inference.stack import FEW_ROWS
from inference.state import HybridState, Layout, Read

MODULES = {"Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM"}
"""Class names of transformers' that are run here."""
STRIP = 8
"""Numbers that a kernel takes at a time: what it works along is a multiple of it."""


class _Unknown(Exception):
    """There is something in the module that is not done here."""


@dataclass(frozen=True)
class _Rotary:
    inverse: Tensor
    """Turns a position, float32 [R / 2]."""
    scale: float


@dataclass(frozen=True)
class _Seen:
    """Where the keys and values of a forward's line lie, and how many of them each token sees."""

    run: Run
    num_seen: Tensor
    """int64 [T * G]: each token's G queries of a key head."""


class _Delta:
    """A Gated DeltaNet layer, its norm before it and the residual around it."""

    def __init__(self, layer: Any, norm: Norm, kernels: Kernels) -> None:
        self._kernels, self._first_norm = kernels, norm
        self._index = layer.layer_idx
        self._matrices = matrices_of(
            layer.in_proj_qkv, layer.in_proj_z, layer.in_proj_b, layer.in_proj_a
        )
        self._out = matrices_of(layer.out_proj)
        self._sizes = partial(
            DeltaSizes,
            key_heads=layer.num_k_heads,
            heads=layer.num_v_heads,
            key_dim=layer.head_k_dim,
            value_dim=layer.head_v_dim,
            width=layer.conv_kernel_size - 1,
        )
        self._heads = layer.num_v_heads, layer.head_v_dim
        self._state_shape = layer.num_v_heads, layer.head_k_dim, layer.head_v_dim
        self._conv = _floats(layer.conv1d.weight[:, 0])
        self._rate = -layer.A_log.detach().float().exp()
        self._bias = layer.dt_bias.detach().float()
        self._norm = Norm(_floats(layer.norm.weight), layer.norm.variance_epsilon)
        self._dtype: torch.dtype = layer.conv1d.weight.dtype
        _require(layer.conv1d.bias is None and layer.activation == "silu")
        _require(layer.head_v_dim % STRIP == 0 and len(self._conv) % STRIP == 0)

    def __call__(self, x: Tensor, step: "_Step") -> None:
        """Read [T, hidden] after what the slot has read, and add to it."""
        products = self._kernels.multiply(self._matrices, x, self._first_norm)
        mixed, gate, beta, decay = torch.split(products, [*self._matrices.num_rows], dim=1)
        log_decay = functional.softplus(decay + self._bias) * self._rate
        beta = beta.sigmoid().to(self._dtype)
        outputs = _stacked([self._read(line, mixed, log_decay, beta)[0] for line in step.lines])
        gate = gate.view(len(x), *self._heads)
        normed = self._kernels.norm(outputs, self._norm, gate)
        self._kernels.multiply(self._out, normed.flatten(1), onto=x)

    def _read(self, line: "_Line", mixed: Tensor, log_decay: Tensor, beta: Tensor) -> Tensor:
        """Put a line's rows in; return [1, T, H, Dv]."""
        mine = mixed[None, line.rows]  # copied: a view would keep the other lines' alive
        inputs = Inputs(
            mine.to(self._dtype, memory_format=torch.contiguous_format, copy=True),
            log_decay[None, line.rows],
            beta[None, line.rows],
        )
        return line.state.slots[self._index].run(inputs, self._run, self._replay)

    def _run(self, inputs: Inputs, states: LinearStates) -> Ran:
        (conv,), (recurrent,) = states.conv, states.recurrent
        mixed = inputs.mixed[0].float()
        if conv is None:
            conv = mixed.new_zeros(1, mixed.shape[1], self._conv.shape[1] - 1)
        if recurrent is None:
            recurrent = mixed.new_zeros(1, *self._state_shape)
        outputs, after, new_state = self._kernels.delta(
            self._sizes(tokens=len(mixed)),
            mixed.contiguous(),
            self._conv,
            inputs.log_decay[0].contiguous(),
            inputs.beta[0].float().contiguous(),
            conv[0].float().contiguous(),
            recurrent[0].float().contiguous(),
        )
        return outputs[None], LinearStates((after[None].to(conv.dtype),), (new_state[None],))

    def _replay(self, inputs: Inputs, states: LinearStates) -> LinearStates:
        with torch.inference_mode():
            return self._run(inputs, states)[1]


class _Attention:
    """A layer of full attention, its norm before it and the residual around it."""

    def __init__(self, layer: Any, norm: Norm, kernels: Kernels, rank: int) -> None:
        self._kernels, self._first_norm = kernels, norm
        self._rank = rank
        self._matrices = matrices_of(layer.q_proj, layer.k_proj, layer.v_proj)
        self._out = matrices_of(layer.o_proj)
        self._dim: int = layer.head_dim
        self._scaling: float = layer.scaling
        self._query_norm = _zero_centered(layer.q_norm)
        self._key_norm = _zero_centered(layer.k_norm)
        _require(layer.head_dim % STRIP == 0 and layer.head_dim <= MAX_HEAD_DIM)

    def __call__(self, x: Tensor, step: "_Step") -> None:
        """Read [T, hidden] after the pages of the line, and add to it."""
        products = self._kernels.multiply(self._matrices, x, self._first_norm)
        both, keys, values = torch.split(products, [*self._matrices.num_rows], dim=1)
        both = both.view(len(x), -1, 2 * self._dim)  # [T, H, query and gate]
        query = self._turned(both[..., : self._dim], self._query_norm, step)
        keys = self._turned(keys.view(len(x), -1, self._dim), self._key_norm, step)
        values = values.view(len(x), -1, self._dim)
        read = _stacked([self._read(line, query, keys, values) for line in step.lines])
        gated = read * both[..., self._dim :].sigmoid()
        self._kernels.multiply(self._out, gated.flatten(1), onto=x)

    def _read(self, line: "_Line", query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Write a line's rows to its pages, and let them read these: [T, H, Dh]."""
        table, shape, query = line.state.table, line.state.table.pool.shape, query[line.rows]
        new = (part[line.rows].transpose(0, 1)[None].to(shape.dtype) for part in (keys, values))
        own = table.write(self._rank, *new)
        if not isinstance(shape.codec, Int4):
            return self._read_runs(query, line)
        turned = shape.codec.turn(query.transpose(0, 1)[None].to(shape.dtype))
        (read,) = attend(turned, table.read(self._rank), own, self._scaling)
        return shape.codec.turn(read).float()

    def _turned(self, heads: Tensor, norm: Norm, step: "_Step") -> Tensor:
        return self._kernels.norm(heads, norm, angles=step.angles)

    def _read_runs(self, query: Tensor, line: "_Line") -> Tensor:
        """Let [T, H, Dh] read all runs of a line; each part counts by its exponentials."""
        num_tokens, _, dim = query.shape
        num_kv_heads = line.state.layout.num_kv_heads
        grouped = (query * self._scaling).view(num_tokens, num_kv_heads, -1, dim).transpose(0, 1)
        rows = grouped.reshape(num_kv_heads, -1, dim)
        outputs, weights = zip(
            *(
                self._kernels.attend(rows, seen.run.layer(self._rank), seen.num_seen)
                for seen in line.seen
            ),
            strict=True,
        )
        shares = torch.cat(weights).softmax(dim=0)
        read = torch.einsum("phrd,phr->hrd", torch.cat(outputs), shares)
        return read.view(num_kv_heads, num_tokens, -1, dim).transpose(0, 1).reshape(query.shape)


class _Mlp:
    """SwiGLU (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, layer: Any, norm: Norm, kernels: Kernels) -> None:
        self._kernels, self._first_norm = kernels, norm
        self._matrices = matrices_of(layer.gate_proj, layer.up_proj)
        self._out = matrices_of(layer.down_proj)
        _require(layer.config.hidden_act == "silu" and self._out.columns % STRIP == 0)

    def __call__(self, x: Tensor) -> None:
        """Add to [T, hidden] what is said of it."""
        both = self._kernels.multiply(self._matrices, x, self._first_norm)
        self._kernels.multiply(self._out, both, is_gated=True, onto=x)


class _Experts:
    """A layer of experts: transformers' own, over stacks where it is quantized."""

    def __init__(self, layer: Any, norm: Any, dtype: torch.dtype) -> None:
        self._layer, self._norm, self._dtype = layer, norm, dtype

    def __call__(self, x: Tensor) -> None:
        """Add to [T, hidden] what is said of it."""
        x += self._layer(self._norm(x)[None].to(self._dtype))[0]


class _Line:
    """A state of a forward, and which of the rows are its new tokens."""

    def __init__(self, state: HybridState, rows: slice, groups: int) -> None:
        """Take the rows; `groups` is how many queries share a key head."""
        self.state, self.rows = state, rows
        self.numbers = torch.arange(len(state), len(state) + rows.stop - rows.start)
        self._groups = groups

    @cached_property
    def seen(self) -> list[_Seen]:
        """The runs of the line, new tokens included."""
        ends = (self.numbers + 1).repeat_interleave(self._groups)
        found, start = [], 0
        for run in joined(self.state.table.past, self.state.table.reserved):
            found.append(_Seen(run, ends - start))
            start += run.num_tokens
        return found


class _Step:
    """What all layers of one forward share."""

    def __init__(self, reads: Sequence[Read], rotary: "_Rotary", groups: int) -> None:
        ends = [0, *accumulate(len(tokens) for _, tokens in reads)]
        self.lines = [
            _Line(state, slice(*rows), groups)
            for (state, _), rows in zip(reads, pairwise(ends), strict=True)
        ]
        places = torch.cat([line.numbers + line.state.offset for line in self.lines])
        turns = places[:, None].float() * rotary.inverse
        self.angles = turns.cos() * rotary.scale, turns.sin() * rotary.scale


class DecodeStep:
    """The text part of a causal model for few tokens at a time."""

    max_tokens = FEW_ROWS
    prepared_s = 0.0

    def __init__(self, module: Any, kernels: Kernels, layout: Layout) -> None:
        """Take the weights of a module; they stay its own.

        Raises:
            _Unknown: it has something that is not done here.
        """
        _require(type(module).__name__ in MODULES)
        _require(module.dtype in (torch.float32, torch.bfloat16))
        _require(module.config.hidden_size % STRIP == 0)
        rotary = module.model.rotary_emb
        _require(rotary.rope_type == "default")
        self._kernels = kernels
        self._embed = module.model.embed_tokens
        self._rotary = _Rotary(rotary.inv_freq.float(), rotary.attention_scaling)
        self._groups: int = module.config.num_attention_heads // layout.num_kv_heads
        self._norm = _zero_centered(module.model.norm)
        self._head = matrices_of(module.lm_head)
        rank = {index: rank for rank, index in enumerate(layout.attention)}
        self._layers = [
            (self._mixer(layer, rank.get(index)), self._mlp(layer, module.dtype))
            for index, layer in enumerate(module.model.layers)
        ]

    @classmethod
    def of(cls, module: nn.Module, kernels: Kernels | None, layout: Layout) -> "DecodeStep | None":
        """Return the step of a module; None where it or the machine is not known here."""
        if kernels is None:
            return None
        try:
            return cls(module, kernels, layout)
        except _Unknown:
            return None

    def _mixer(self, layer: Any, rank: int | None) -> _Delta | _Attention:
        norm = _zero_centered(layer.input_layernorm)
        if rank is None:
            return _Delta(layer.linear_attn, norm, self._kernels)
        return _Attention(layer.self_attn, norm, self._kernels, rank)

    def _mlp(self, layer: Any, dtype: torch.dtype) -> _Mlp | _Experts:
        norm = layer.post_attention_layernorm
        if hasattr(layer.mlp, "gate_proj"):
            return _Mlp(layer.mlp, _zero_centered(norm), self._kernels)
        return _Experts(layer.mlp, norm, dtype)

    def takes(self, reads: Sequence[Read], stops: Sequence[int] = ()) -> bool:
        """Say whether these are few; where states are kept on the way does not matter."""
        return sum(len(tokens) for _, tokens in reads) <= self.max_tokens

    def run(self, reads: Sequence[Read], asked: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read tokens into states that expect them; return the logits after some of them.

        Args:
            reads: states between `begin` and `commit`, and what each reads; T tokens in all, at
                most `max_tokens`.
            asked: numbers of these tokens, 1 to T.

        Returns:
            Logits, float32 [len(asked), V], and what the layers made of all tokens, [T, hidden].
        """
        step = _Step(reads, self._rotary, self._groups)
        tokens = [token for _, tokens in reads for token in tokens]
        embedded: Tensor = self._embed(torch.tensor(tokens))
        x = embedded.to(torch.float32, copy=True)  # [T, hidden]
        for mixer, mlp in self._layers:
            mixer(x, step)
            mlp(x)
        last = x if len(asked) == len(tokens) else x[[number - 1 for number in asked]]
        return self._kernels.multiply(self._head, last, self._norm), x

    def head(self, normed: Tensor) -> Tensor:
        """Return the logits, float32 [T, V], of [T, hidden] that has been through the last norm."""
        return self._kernels.multiply(self._head, normed.float())

    def normed(self, x: Tensor) -> Tensor:
        """Return what `run` made of tokens after the last norm, [T, hidden]."""
        return self._kernels.norm(x[:, None], self._norm)[:, 0]


def _stacked(rows: list[Tensor]) -> Tensor:
    """Put the rows of lines under each other."""
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def matrices_of(*layers: Any) -> Matrices:
    """Put the weights of linear layers over the same rows side by side.

    Raises:
        _Unknown: one of them is not of a kind that is multiplied here.
    """
    parts: list[tuple[Matrix, tuple[Tensor, ...]]] = []
    for layer in layers:
        weight = layer.weight
        _require(layer.bias is None)
        if isinstance(layer, StackLinear):
            found = weight.matrix(0)
            _require(found is not None)
            parts.append(found)
        else:
            _require(type(layer) is nn.Linear and weight.dtype in KINDS)
            parts.append(plain_matrix(weight.detach()))
    structs = (Matrix * len(parts))(*(matrix for matrix, _ in parts))
    held = tuple(tensor for _, tensors in parts for tensor in tensors)
    columns = layers[0].weight.columns if isinstance(layers[0], StackLinear) else weight.shape[1]
    return Matrices(structs, tuple(matrix.rows for matrix, _ in parts), columns, held)


def _zero_centered(norm: Any) -> Norm:
    """Return transformers' norm, whose weight is the distance from 1."""
    return Norm(1 + _floats(norm.weight), norm.eps)


def _floats(weight: Tensor) -> Tensor:
    _require(weight.device.type == "cpu")
    return weight.detach().float().contiguous()


def _require(is_so: bool) -> None:
    if not is_so:
        raise _Unknown
