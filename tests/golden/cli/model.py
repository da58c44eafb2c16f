"""The functions whose dumps stand beside this file."""

import numpy as np

import graphjit as gj

weights = gj.Variable(np.ones(8, np.float32), name="weights")


@gj.function
def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def step(x):
    y = x * 1 + weights
    weights.assign_sub(0.5 * gj.reduce_mean(y, axis=0))
    return y
