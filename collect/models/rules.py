"""What a family file may name, known without torch: the rules of collect/models/shapes.py, forward processes."""

from scalinglaws.schema import InputError

SHAPES = ("tiny-ldm", "mei", "tiny-t2i")  # built in collect/models/shapes.py

VP = {"num_train_timesteps": 1000, "prediction_type": "v_prediction", "clip_sample": False,
      "timestep_spacing": "trailing"}  # fmt: skip
PROCESSES = {  # of a family of forecasters: the configuration of its scheduler
    "linear-beta": VP | {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},  # Ho 2020, 2006.11239
    "cosine": VP | {"beta_schedule": "squaredcos_cap_v2"},  # Nichol & Dhariwal 2021, arXiv:2102.09672
    "flow": {"num_train_timesteps": 1000},  # the straight line from data to noise: Lipman et al. 2022, 2210.02747
}


def known_shape(name):
    """This name of a rule; InputError lists the known ones."""
    if name not in SHAPES:
        known = ", ".join(SHAPES)
        raise InputError(f"No family named '{name}'. Known families: {known}. See collect/models/shapes.py.")
    return name
