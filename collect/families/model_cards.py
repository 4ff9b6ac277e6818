"""The README of a model folder: what it is, what it was trained on, under which licences."""

CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---

# {family}, {label}

A text-to-image latent diffusion model in small, one of a family in which only the width changes (Mei et al. 2024,
arXiv:2404.01367, in the open): a U-Net of channels ({c}, {twice}), {params:.2f} M parameters, on 8x8x8 latents of 32x32
pixel scenes of emoji. Trained from scratch for {steps:,} steps of {batch} scenes, training seed {seed}; made to measure
scaling, not to be used.

```python
from diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained(FOLDER)
pipe("a large red apple in noto style on teal", num_inference_steps=50, guidance_scale=2.0).images[0]
```

Steps that divide the 1,000 noise levels (1, 2, 4, 5, 8, 10, 20, 25, 50 ...) draw the images behind the family's tables;
at others diffusers' own DDIM ends each step at more noise than the next call is told, which the tables' sampler mends.

It knows {names} names of emoji in the styles twemoji, noto and fluent, twelve background colours, "large", "small at
the top left" (and so on), and two objects "left of", "right of", "above", "below" each other. The output is 32 pixels
wide.

## Data and licences

{sources}

Scenes are composed from these pictures by `scalinglaws collect data tiny-t2i`; the archives are not redistributed.
Twemoji is by Twitter, Inc and other contributors (CC-BY 4.0), Noto Color Emoji by Google (Apache-2.0), Fluent Emoji by
Microsoft (MIT); none of them endorses this model.
"""


def model_card(family, label, archives, names=906):
    """The text of a label's README. `family` a TextFamily, `archives` those its data come from."""
    columns, c = family.columns(label), family.file.width(label)
    return CARD.format(
        family=family.name,
        label=label,
        c=c,
        twice=2 * c,
        params=family.cost_profile(label).denoiser.params / 1e6,
        steps=columns["train_steps"],
        batch=family.file.recipe.batch,
        seed=columns["train_seed"],
        names=names,
        sources="\n".join(f"* `{a.package}` ({a.licence})" for a in archives),
    )
