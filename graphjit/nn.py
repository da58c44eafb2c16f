"""Neural networks, under TensorFlow's names: activations, losses, convolutions, dropout."""

from graphjit.functions import nn as _functions
from graphjit.functions.nn import *  # noqa: F403
from graphjit.random.dropout import dropout, stateless_dropout

__all__ = [*_functions.__all__, "dropout", "stateless_dropout"]
