"""One tiny setting per generator, for tests that run over the whole registry (test_generator_contract.py).

`shape` is (C, H, W); `config` are the values of the generator's Config. One that needs masks gets MASK_CHANNELS.
"""

MASK_CHANNELS = 3

TINY = {
    "dcgan": {
        "shape": (1, 16, 16),
        "config": {
            "latent_size": 8,
            "generator_channels": [8, 4],
            "discriminator_channels": [4, 8],
            "kernel_size": 4,
            "learning_rate": 2.0e-4,
            "beta1": 0.5,
            "dropout": 0.25,
            "ema_decay": 0.99,
        },
    },
    "edm": {
        "shape": (1, 16, 16),
        "config": {
            "channels": [8, 12],
            "blocks": 1,
            "attention_sides": [8],
            "dropout": 0.25,
            "sigma_data": 0.5,
            "noise_mean": -1.2,
            "noise_deviation": 1.2,
            "sigma_min": 0.002,
            "sigma_max": 80.0,
            "rho": 7.0,
            "sampling_steps": 3,
            "learning_rate": 2.0e-4,
            "ema_decay": 0.99,
        },
    },
    "cyclegan": {
        "shape": (1, 16, 16),
        "config": {
            "base_channels": 4,
            "residual_blocks": 1,
            "discriminator_layers": [4, 8],
            "discriminator_last_stride": 2,
            "cycle_weight": 10.0,
            "identity_weight": 0.5,
            "pool_size": 5,
            "learning_rate": 2.0e-4,
            "beta1": 0.5,
        },
    },
    "fastgan": {
        "shape": (1, 32, 32),
        "config": {
            "latent_size": 8,
            "generator_channels": 2,
            "discriminator_channels": 2,
            "spectral_norm": True,
            "augmentation": ["color", "translation", "cutout"],
            "reconstruction": "mse",
            "perceptual_weights": None,
            "part_size": 8,
            "learning_rate": 2.0e-4,
            "beta1": 0.5,
            "ema_decay": 0.99,
        },
    },
    # In batches of 4: one step at 4×4, two steps of fading in 8×8, one as it is, two of fading in 16×16.
    "pggan": {
        "shape": (1, 16, 16),
        "config": {
            "latent_size": 8,
            "fmap_base": 32,
            "fmap_max": 8,
            "stable_kimg": 0.004,
            "fade_kimg": 0.008,
            "batch_limits": {},
            "minibatch_group": 2,
            "gradient_penalty": 10.0,
            "drift": 0.001,
            "learning_rate": 1.0e-3,
            "ema_decay": 0.99,
            "gradient_checkpointing": False,
        },
    },
    "pix2pix": {
        "shape": (1, 16, 16),
        "config": {
            "generator_channels": [4, 8, 8],
            "inner_norm": True,
            "dropout": 0.25,
            "dropout_blocks": 1,
            "noise": ["channel", "dropout"],
            "discriminator": "patches",
            "discriminator_channels": [4],
            "discriminator_last_stride": 2,
            "scales": 2,
            "slope": 0.2,
            "l1_weight": 10.0,
            "perceptual_layers": {},
            "perceptual_weights": None,
            "learning_rate": 2.0e-4,
            "beta1": 0.5,
            "ema_decay": 0.99,
        },
    },
    "stylegan2": {
        "shape": (3, 16, 16),
        "config": {
            "latent_size": 8,
            "mapping_layers": 2,
            "channel_base": 64,
            "channel_max": 8,
            "minibatch_group": 2,
            "style_mixing": 0.5,
            "r1_gamma": 10.0,
            "r1_interval": 2,
            "path_weight": 0.1,
            "path_interval": 2,
            "learning_rate": 2.0e-3,
            "ema_kimg": 0.1,
            "ema_rampup": 0.5,
            # With 4 images a step p is 0.5 after 2 steps and 1 after 4, or 0 where the scores are negative.
            "augmentation": {"target": -0.9, "interval": 2, "kimg": 0.016},
        },
    },
}
