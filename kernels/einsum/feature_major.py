"""The einsum linear operator on feature-major activations: the products of its execution plan.

Tokens are the last axis everywhere, so that products read and write long contiguous rows, and what is
permuted between them are whole rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor, bmm

from einsearch.space.execution import ExecutionPlan, Layout, Product, execution_plan
from einsearch.space.operator import Operator
from einsearch.space.structure import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Permutation:
    """A tensor of shape (*sizes, tokens) becomes (*permuted sizes, tokens), copied."""

    sizes: tuple[int, ...]
    axes: tuple[int, ...]

    def __call__(self, z: Tensor, tokens: int) -> Tensor:
        return z.view(*self.sizes, tokens).permute(*self.axes, len(self.axes)).contiguous()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRecipe:
    """One product in numbers alone: (batch, m, k) x (batch, k, n * tokens).

    copy: of z before. contracted_first: z lies as (k, batch, columns), not (batch, k, columns). factor_sizes: of
    the factor's axes above 1; factor_axes: their order as batch, introduced, contracted; repeated_shape: that
    order with 1 for the indices that the factor does not carry, expanded_shape with their sizes.
    """

    factor: int
    copy: Permutation | None
    contracted_first: bool
    factor_sizes: tuple[int, ...]
    factor_axes: tuple[int, ...]
    repeated_shape: tuple[int, ...]
    expanded_shape: tuple[int, ...]
    batch: int
    m: int
    n: int
    k: int

    def matrices(self, factor: Tensor) -> Tensor:
        """The factor as (batch, m, k)."""
        w = factor.reshape(self.factor_sizes).permute(self.factor_axes)
        if self.repeated_shape != self.expanded_shape:
            w = w.reshape(self.repeated_shape).expand(self.expanded_shape)
        w = w.reshape(self.batch, self.m, self.k)
        # Without rows or columns of stride 1 `bmm` would go through the batch one by one.
        return w if 1 in w.stride()[1:] else w.contiguous()

    def operand(self, z: Tensor, tokens: int) -> Tensor:
        """z as (batch, k, n * tokens), a view of where it lies (or of its copy)."""
        columns = self.n * tokens
        if self.copy is not None:
            z = self.copy(z, tokens)
        if self.contracted_first:
            return z.view(self.k, self.batch, columns).transpose(0, 1)
        return z.view(self.batch, self.k, columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An execution plan in numbers alone: nothing is planned, hashed or looked up while it runs."""

    products: tuple[ProductRecipe, ...]
    last_copy: Permutation | None
    padded_out: int


def einsum_linear(x: Tensor, factors: Sequence[Tensor], recipe: Recipe) -> Tensor:
    """As :func:`einsearch.kernels.einsum.reference.einsum_linear`, transposed.

    x: (padded_in, tokens) -> (padded_out, tokens). factors[f] has the shape `operator.factor_shape(f)`.
    """
    tokens = x.shape[1]
    z = x.contiguous()
    for product in recipe.products:
        z = bmm(product.matrices(factors[product.factor]), product.operand(z, tokens))
    if recipe.last_copy is not None:
        z = recipe.last_copy(z, tokens)
    return z.view(recipe.padded_out, tokens)


@lru_cache(maxsize=65536)
def recipe_of(operator: Operator) -> Recipe:
    """What :func:`einsum_linear` does for an operator."""
    plan = execution_plan(operator)
    size = dict(plan.sizes)
    last = plan.last_copy
    return Recipe(
        products=tuple(_recipe(product, operator, size) for product in plan.products),
        last_copy=None if last is None else _permutation(_last(plan), last, size),
        padded_out=operator.sizes.padded_out,
    )


def _last(plan: ExecutionPlan) -> Layout:
    return plan.products[-1].out


def _permutation(layout: Layout, wanted: Layout, size: dict[Index, int]) -> Permutation:
    sizes = tuple(size[index] for index in layout)
    return Permutation(sizes=sizes, axes=tuple(layout.index(index) for index in wanted))


def _recipe(product: Product, operator: Operator, size: dict[Index, int]) -> ProductRecipe:
    carried = [index for index in operator.einsum.indices if product.factor in index.factors and index in size]
    inner = tuple(size[index] for index in (*product.introduced, *product.contracted))
    batch, contracted = product.batch, product.contracted
    return ProductRecipe(
        factor=product.factor,
        copy=None if product.copied is None else _permutation(product.source, product.copied, size),
        contracted_first=bool(batch and contracted)
        and product.read.index(contracted[0]) < product.read.index(batch[0]),
        factor_sizes=tuple(size[index] for index in carried),
        factor_axes=tuple(carried.index(index) for index in product.factor_order()),
        repeated_shape=(*(1 if index in product.repeated else size[index] for index in batch), *inner),
        expanded_shape=(*(size[index] for index in batch), *inner),
        batch=product.batch_size,
        m=product.m,
        n=product.n,
        k=product.k,
    )
