"""einsearch: a search engine for linear layers.

Every linear operator that an Einstein summation can express is a candidate to replace the dense
matrices of a transformer; this package enumerates them, trains them under a FLOP budget and says what
compute each saves against dense.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from einsearch.errors import EinsearchError as EinsearchError
    from einsearch.layers.choice import tune as tune
    from einsearch.layers.export import convert_like as convert_like
    from einsearch.layers.export import load_converted as load_converted
    from einsearch.layers.export import save_converted as save_converted
    from einsearch.layers.linear import EinsumLinear as EinsumLinear
    from einsearch.layers.moe import EinsumMoE as EinsumMoE
    from einsearch.layers.moe import ExpertFFN as ExpertFFN
    from einsearch.layers.parametrize import param_groups as param_groups
    from einsearch.layers.router import Router as Router
    from einsearch.own_model import convert as convert
    from einsearch.proxy.protocol import Protocol as Protocol
    from einsearch.search.config import StudyConfig as StudyConfig
    from einsearch.search.study import Study as Study
    from einsearch.space.analysis import analyze as analyze
    from einsearch.space.candidate import Candidate as Candidate
    from einsearch.space.candidate import ModelShape as ModelShape
    from einsearch.space.classify import classify as classify
    from einsearch.space.closed_forms import closed_forms as closed_forms
    from einsearch.space.einsum import Einsum as Einsum
    from einsearch.space.enumeration import structures as structures
    from einsearch.space.mixture import Mixture as Mixture
    from einsearch.space.operator import operator as operator
    from einsearch.space.parse import parse as parse
    from einsearch.space.parse import parse_structure as parse_structure
    from einsearch.space.search_space import SearchSpace as SearchSpace
    from einsearch.space.space_file import load_space as load_space
    from einsearch.space.structure import Structure as Structure
    from einsearch.space.taxonomy import taxonomy as taxonomy
    from einsearch.space.taxonomy import taxonomy_arrays as taxonomy_arrays
    from einsearch.trial_export import export_trial as export_trial
    from einsearch.trial_export import load_exported as load_exported

_HOME = {
    "Candidate": "space.candidate",
    "EinsearchError": "errors",
    "Einsum": "space.einsum",
    "EinsumLinear": "layers.linear",
    "EinsumMoE": "layers.moe",
    "ExpertFFN": "layers.moe",
    "Mixture": "space.mixture",
    "ModelShape": "space.candidate",
    "Protocol": "proxy.protocol",
    "Router": "layers.router",
    "SearchSpace": "space.search_space",
    "Structure": "space.structure",
    "Study": "search.study",
    "StudyConfig": "search.config",
    "analyze": "space.analysis",
    "classify": "space.classify",
    "closed_forms": "space.closed_forms",
    "convert": "own_model",
    "convert_like": "layers.export",
    "export_trial": "trial_export",
    "load_converted": "layers.export",
    "load_exported": "trial_export",
    "load_space": "space.space_file",
    "operator": "space.operator",
    "param_groups": "layers.parametrize",
    "parse": "space.parse",
    "parse_structure": "space.parse",
    "save_converted": "layers.export",
    "structures": "space.enumeration",
    "taxonomy": "space.taxonomy",
    "taxonomy_arrays": "space.taxonomy",
    "tune": "layers.choice",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: the symbolic part works without importing torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'einsearch' has no attribute {name!r}")
    return getattr(import_module(f"einsearch.{_HOME[name]}"), name)
