"""The feature bank of CRUNet-MR."""

import pytest
import torch

from onebreath.networks.crunet_mr.cine_unet import LevelFeatures
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from onebreath.networks.crunet_mr.feature_bank import ChannelAttentionFuser, FeatureBank


@pytest.mark.parametrize(("window", "sizes"), [(None, [0, 1, 2, 3, 4]), (2, [0, 1, 2, 2, 2]), (3, [0, 1, 2, 3, 3])])
@pytest.mark.parametrize("fusion", ["conv", "ca"])
def test_bank_grows_up_to_its_window(scan, monkeypatch, fusion, window, sizes):
    network = CRUNetMR(channels=4, cascades=5, fusion=fusion, ca_reduction=4, bank_window=window)
    seen = []
    recall = network.recall
    monkeypatch.setattr(network, "recall", lambda index, history: seen.append(len(history)) or recall(index, history))
    with torch.inference_mode():
        network(*scan(frames=1, y=8, x=8))
    assert seen == sizes
    widths = [fusers.level1.in_channels for fusers in network.bank.fusers] if fusion == "conv" else None
    assert widths in (None, [4 * size for size in sizes[1:]])


def test_levels_are_fused_apart_and_oldest_first():
    bank = FeatureBank(3, 4, (1, 2, 4), "conv").double()
    history = [LevelFeatures(*(torch.randn(1, 2, 4, 6, 6, dtype=torch.float64) for _ in range(3))) for _ in range(2)]
    fused = bank(2, history)
    for level, dilation in zip(LevelFeatures._fields, (1, 2, 4), strict=True):
        fuser = getattr(bank.fusers[1], level)
        assert fuser.dilation == (dilation, dilation)
        joined = torch.cat([getattr(history[0], level)[0], getattr(history[1], level)[0]], dim=1)
        torch.testing.assert_close(getattr(fused, level)[0], fuser(joined))


@pytest.mark.parametrize("style", ["cab", "se"])
def test_channel_attention_sees_each_frame_alone(style):
    fuser = ChannelAttentionFuser(2, 4, style, reduction=2).double()
    frames = torch.randn(3, 8, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(fuser(frames)[1:2], fuser(frames[1:2]))


def test_channel_attention_follows_its_formula():
    fuser = ChannelAttentionFuser(2, 4, "cab", reduction=2).double()
    frames = torch.randn(1, 8, 6, 6, dtype=torch.float64)
    body = fuser.body(frames)
    squeezed = fuser.attention.squeeze.weight[..., 0, 0] @ body.mean((-2, -1))[0]
    gate = torch.sigmoid(fuser.attention.excite.weight[..., 0, 0] @ squeezed.relu())
    torch.testing.assert_close(fuser(frames), fuser.reduce(frames + body * gate[None, :, None, None]))
