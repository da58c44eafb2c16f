"""Makes `data/keras.json` and `data/optax.json`: what Keras' and optax' optimizers do.

Needs keras, jax and optax; run by hand: `KERAS_BACKEND=jax python tests/optimizers/record.py`.
Recorded with keras 3.15.1, optax 0.2.8, jax 0.10.2.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SHAPES = [(3, 4), (5,), ()]
STEPS = 7

# Of Keras: name, options.
KERAS = [
    ("SGD", {}), ("SGD", {"momentum": 0.9}), ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"weight_decay": 0.1}), ("SGD", {"clipnorm": 0.5}), ("SGD", {"clipvalue": 0.3}),
    ("SGD", {"global_clipnorm": 1.0}), ("SGD", {"loss_scale_factor": 8.0}),
    ("SGD", {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3}),
    ("SGD", {"gradient_accumulation_steps": 3}),
    ("Adam", {"gradient_accumulation_steps": 2, "clipnorm": 1.0, "weight_decay": 0.01}),
    ("Adam", {}), ("Adam", {"amsgrad": True}), ("Adam", {"beta_1": 0.5, "epsilon": 1e-3}),
    ("AdamW", {}), ("AdamW", {"weight_decay": 0.1}), ("Adamax", {}), ("Nadam", {}),
    ("RMSprop", {}), ("RMSprop", {"momentum": 0.5, "centered": True}), ("Adagrad", {}),
    ("Adadelta", {}), ("Lion", {}), ("Lamb", {}), ("Adafactor", {}),
    ("Adafactor", {"relative_step": False, "clip_threshold": 0.5}),
]  # fmt: skip
SCHEDULES = [
    ("ExponentialDecay", [0.1, 10, 0.5], {}), ("ExponentialDecay", [0.1, 10, 0.5, True], {}),
    ("InverseTimeDecay", [0.1, 10, 0.5], {}), ("InverseTimeDecay", [0.1, 10, 0.5, True], {}),
    ("PolynomialDecay", [0.1, 10], {}), ("PolynomialDecay", [0.1, 10, 0.01, 2.0, True], {}),
    ("PiecewiseConstantDecay", [[3, 7], [1.0, 0.5, 0.1]], {}), ("CosineDecay", [0.1, 10], {}),
    ("CosineDecay", [0.0, 10], {"warmup_target": 0.1, "warmup_steps": 4, "alpha": 0.1}),
    ("CosineDecayRestarts", [0.1, 5], {}),
    ("CosineDecayRestarts", [0.1, 5], {"t_mul": 1.0, "m_mul": 0.5, "alpha": 0.01}),
]  # fmt: skip
# Of optax: name, options. "clip" and others are chained before sgd.
OPTAX = [
    ("sgd", {}), ("sgd", {"momentum": 0.9}), ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adam", {}), ("adam", {"eps_root": 1e-3}), ("nadam", {}), ("adamw", {}), ("adamax", {}),
    ("rmsprop", {}), ("rmsprop", {"momentum": 0.5, "centered": True}), ("adagrad", {}),
    ("adadelta", {}), ("lion", {}), ("lamb", {}), ("lamb", {"weight_decay": 0.1}),
    ("clip", {"max_delta": 0.3}), ("clip_by_global_norm", {"max_norm": 1.0}),
    ("ema", {"decay": 0.7}), ("apply_every", {"k": 3}), 
    ("add_decayed_weights", {"weight_decay": 0.1}),
    ("lookahead", {"sync_period": 3, "slow_step_size": 0.4}),
    ("lookahead", {"sync_period": 2, "slow_step_size": 0.7, "reset_state": True}),
]  # fmt: skip


def parameters() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape) for shape in SHAPES]


def gradients() -> list[list[np.ndarray]]:
    rng = np.random.default_rng(2)
    return [[rng.normal(size=shape) for shape in SHAPES] for _ in range(STEPS)]


def record_keras() -> list[dict[str, object]]:
    import keras

    found: list[dict[str, object]] = []
    for name, options in KERAS:
        variables = [
            keras.Variable(p, dtype="float64", name=f"v{k}") for k, p in enumerate(parameters())
        ]
        optimizer = getattr(keras.optimizers, name)(learning_rate=0.05, **options)
        steps = []
        for grads in gradients():
            optimizer.apply(
                [keras.ops.convert_to_tensor(g, "float64") for g in grads], variables
            )
            steps.append([np.asarray(v).tolist() for v in variables])
        found.append({"name": name, "options": options, "steps": steps})
    for name, args, options in SCHEDULES:
        schedule = getattr(keras.optimizers.schedules, name)(*args, **options)
        values = [float(schedule(k)) for k in range(24)]
        found.append({"schedule": name, "args": args, "options": options, "values": values})
    return found


def record_optax() -> list[dict[str, object]]:
    import optax

    found: list[dict[str, object]] = []
    for name, options in OPTAX:
        made = getattr(optax, name)
        if name in ("clip", "clip_by_global_norm", "ema", "apply_every", "add_decayed_weights"):
            optimizer = optax.chain(made(**options), optax.sgd(0.05))
        elif name == "lookahead":
            optimizer = made(optax.adam(0.05), **options)
        else:
            optimizer = made(learning_rate=0.05, **options)
        params = parameters()
        if name == "lookahead":
            params = optax.LookaheadParams.init_synced(params)
        state = optimizer.init(params)
        steps = []
        for grads in gradients():
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            shown = [*params.fast, *params.slow] if name == "lookahead" else params
            steps.append([np.asarray(p).tolist() for p in shown])
        found.append({"name": name, "options": options, "steps": steps})
    cycle = optax.cosine_onecycle_schedule(20, 0.1)
    found.append({"schedule": "OneCycle", "args": [20, 0.1], "options": {},
                  "values": [float(cycle(k)) for k in range(24)]})  # fmt: skip
    return found


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax

    jax.config.update("jax_enable_x64", True)
    for name, record in (("keras", record_keras), ("optax", record_optax)):
        (HERE / "data" / f"{name}.json").write_text(json.dumps(record()) + "\n")
