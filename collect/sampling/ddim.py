"""DDIM of contiguous steps: each ends at the noise level at which the next begins.

diffusers' DDIMScheduler moves by n // steps of its n levels, whatever levels it visits. Where the steps do not divide n
(spacing 'trailing'), or the spacing is 'linspace', each step leaves more noise than the next call is told: at 128 steps
of 1,000 levels a step is 10 % short (huggingface/diffusers issues 9261 and 12633, open in version 0.42).
"""

from diffusers import DDIMScheduler
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput


class ExactDDIM(DDIMScheduler):
    """diffusers' DDIMScheduler without noise (eta 0), but for the level at which a step ends."""

    def step(self, model_output, timestep, sample):
        """x at the next of `timesteps`, without noise after the last: Song et al. 2021, arXiv:2010.02502, eq. 12."""
        signal2, next_signal2 = self.alphas_cumprod[timestep], self._next_signal2(timestep)
        signal, noise = signal2**0.5, (1 - signal2) ** 0.5
        if self.config.prediction_type == "epsilon":
            clean, direction = (sample - noise * model_output) / signal, model_output
        elif self.config.prediction_type == "sample":
            clean, direction = model_output, (sample - signal * model_output) / noise
        else:  # v, Salimans and Ho 2022, arXiv:2202.00512, appendix D
            clean, direction = signal * sample - noise * model_output, signal * model_output + noise * sample
        if self.config.thresholding:
            clean = self._threshold_sample(clean)
        elif self.config.clip_sample:
            clean = clean.clamp(-self.config.clip_sample_range, self.config.clip_sample_range)
        return DDIMSchedulerOutput(next_signal2**0.5 * clean + (1 - next_signal2) ** 0.5 * direction, clean)

    def _next_signal2(self, timestep):
        below = self.timesteps[self.timesteps < timestep]
        return self.alphas_cumprod[below[0]] if len(below) else self.final_alpha_cumprod
