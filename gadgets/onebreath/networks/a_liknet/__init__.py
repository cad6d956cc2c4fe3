"""A-LIKNet: low-rank, image and k-space branches that share information, with attention over frames and coils.

Sources: Computerized Medical Imaging and Graphics 120:102475 (2025), and the released code (midas-tum/A-LIKNet), from
which shapes, orders and initial values are taken. Where they differ, the code's intention is followed.
"""

from onebreath.networks.a_liknet.network import ALIKNet

__all__ = ["ALIKNet"]
