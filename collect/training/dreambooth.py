"""DreamBooth's loss: a subject learned from a few images while the model keeps what it knew of its class."""

from collect.training.denoising import denoising


def prior_preservation(pretrained, subject, prior, batch=4, weight=1.0):
    """The loss E[ w_t |x_theta(z_t, c) - x|^2 + weight w_t' |x_theta(z'_t', c_pr) - x_pr|^2 ] of Ruiz et al. 2023,
    arXiv:2208.12242, eq. 2: the subject's images with their prompt, and images x_pr that the model drew itself of the
    class. w_t is the one under which the network was trained: errors are measured in what it predicts.

    subject, prior: Examples; `batch` of each per step, with times and noise of their own.
    """
    instance, kept = (denoising(pretrained, examples, batch, drop=0.0) for examples in (subject, prior))

    def loss(net, generator):
        return instance(net, generator) + weight * kept(net, generator)

    return loss
