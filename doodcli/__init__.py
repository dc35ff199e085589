"""dood: Drawing out of Distribution, a neuro-symbolic generative model that learns to draw."""

from importlib.metadata import version

__version__ = version("doodcli")
