"""Tiny random pipelines of every kind that diffusers has and collect adapts: built in memory, real code, no network."""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    LDMSuperResolutionPipeline,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionUpscalePipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

WORDS = ("a", "photo", "of", "cat", "dog", "red", "blue", "house")
WIDTH = 16  # of every text encoder


def clip_tokenizer():
    letters = sorted({letter for word in WORDS for letter in word})
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[], model_max_length=32)


def t5_tokenizer():
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -1.0) for word in WORDS)]
    inner = Tokenizer(models.Unigram(words, unk_id=2))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "extra_ids": 0}
    return T5TokenizerFast(tokenizer_object=inner, model_max_length=32, **names)


def clip_text(projected=False):
    known = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(known),
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=WIDTH,
        max_position_embeddings=32,
        bos_token_id=0,
        eos_token_id=1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def t5_text():
    config = T5Config(vocab_size=16, d_model=WIDTH, d_kv=8, d_ff=24, num_layers=2, num_heads=2)
    return T5EncoderModel(config).eval()


def vae(channels=4):
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=16,
        shift_factor=0.1,
    ).eval()


def text_unet(**options):
    return UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": WIDTH,
            "attention_head_dim": 4,
            "norm_num_groups": 4,
        }
        | options
    ).eval()


STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def ddim(**options):
    return DDIMScheduler(**STABLE, clip_sample=False, **options)


def pixels(kind=DDIMPipeline, classes=None, learned_variance=False):
    net = UNet2DModel(
        sample_size=8,
        out_channels=6 if learned_variance else 3,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=classes,
    ).eval()
    variance = {"variance_type": "learned_range"} if learned_variance else {}
    return kind(unet=net, scheduler=DDIMScheduler() if kind is DDIMPipeline else DDPMScheduler(**variance))


def stable_diffusion():
    return StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=text_unet(),
        scheduler=ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def latent_consistency():
    return LatentConsistencyModelPipeline(
        vae=vae(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=text_unet(time_cond_proj_dim=16),
        scheduler=LCMScheduler(**{k: v for k, v in STABLE.items() if k != "steps_offset"}),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl(**options):
    net = text_unet(
        cross_attention_dim=2 * WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=WIDTH + 6 * 8,
        **options,
    )
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip_text(),
        text_encoder_2=clip_text(projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=net,
        scheduler=ddim(),
        add_watermarker=False,
    )


def dit():
    net = DiTTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=4,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        num_embeds_ada_norm=1000,
    )
    return DiTPipeline(transformer=net.eval(), vae=vae(), scheduler=ddim())


def pixart():
    net = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=4,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=8,
        caption_channels=WIDTH,
    )
    return PixArtAlphaPipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5_text(), vae=vae(), transformer=net.eval(), scheduler=ddim()
    )


def stable_diffusion_3():
    net = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=2 * WIDTH,
        pooled_projection_dim=2 * WIDTH,
        out_channels=4,
        pos_embed_max_size=8,
    )
    return StableDiffusion3Pipeline(
        transformer=net.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=clip_text(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_text(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def flux(guided=True):
    net = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(2, 2, 4),
        guidance_embeds=guided,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=vae(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_text(),
        tokenizer_2=t5_tokenizer(),
        transformer=net.eval(),
    )


def latent_upscale():
    vq = VQModel(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        num_vq_embeddings=32,
        latent_channels=3,
    )
    net = UNet2DModel(
        sample_size=8,
        in_channels=6,
        out_channels=3,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    return LDMSuperResolutionPipeline(vqvae=vq.eval(), unet=net.eval(), scheduler=ddim())


def text_upscale():
    return StableDiffusionUpscalePipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
            scaling_factor=0.08333,
        ).eval(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=text_unet(in_channels=7, num_class_embeds=1000),
        low_res_scheduler=DDPMScheduler(beta_schedule="scaled_linear"),
        scheduler=ddim(prediction_type="v_prediction"),
        safety_checker=None,
        feature_extractor=None,
    )


KINDS = {  # name: (build, task, resolution or None)
    "ddim": (pixels, "unconditional", None),
    "ddpm": (lambda: pixels(DDPMPipeline), "unconditional", None),
    "sd": (stable_diffusion, "text", None),
    "lcm": (latent_consistency, "text", None),
    "sdxl": (stable_diffusion_xl, "text", None),
    "sdxl-lcm": (lambda: stable_diffusion_xl(time_cond_proj_dim=16), "text", None),
    "dit": (dit, "class", None),
    "pixart": (pixart, "text", None),
    "sd3": (stable_diffusion_3, "text", None),
    "flux": (flux, "text", 16),
    "flux-schnell": (lambda: flux(guided=False), "text", 16),
    "ldm-upscale": (latent_upscale, "upscale", 32),
    "sd-upscale": (text_upscale, "upscale", 32),
}


def build(name):
    """(pipeline with seeded random weights, task name, resolution)."""
    make, task, resolution = KINDS[name]
    torch.manual_seed(0)
    pipe = make()
    pipe.set_progress_bar_config(disable=True)
    return pipe, task, resolution
