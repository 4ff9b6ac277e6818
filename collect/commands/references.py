"""The verb reference: statistics of a folder of real images."""

from collect.features import open_network
from collect.metrics import sums
from collect.metrics.folder import make_reference
from collect.metrics.reference import few
from collect.progress import note, show


def reference(args):
    """Make the file, say what is in it."""
    options = {"device": args.device} | ({"weights": args.weights} if args.weights else {})
    network = open_network(args.features, **options)
    subset = sums.SUBSET if args.subset is None else args.subset
    made = make_reference(args.folder, network, args.out, args.size, args.filter, subset, args.batch, _progress)
    show(f"{args.out}: {made.count} images, {network.dimensions} features of {network.name}, hash {made.hash}")
    if doubt := few(made.count, "images", network.dimensions):
        note(doubt)
    return 0


def _progress(done, every):
    if done == every or done % 1000 < 64:
        show(f"{done} of {every} images")
