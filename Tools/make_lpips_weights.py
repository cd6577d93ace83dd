"""Writes the weights of LPIPS as one safetensors file, from the torchvision and lpips packages.

    python Tools/make_lpips_weights.py --network alex --output lpips-alex.safetensors
    python Tools/make_lpips_weights.py --network vgg --backbone vgg16-397923af.pth --output lpips-vgg.safetensors

The weights of the five comparisons (version 0.1) come with the lpips package. Those of the network are torchvision's for
ImageNet: downloaded by torchvision into its cache unless `--backbone` names a file of them (a state dict, .pth or
.safetensors). The file holds `features.N.{weight,bias}` under torchvision's numbers, `lins.K.weight` [C], and the metadata
`network`. Needs torch, torchvision, lpips and safetensors.
"""

import argparse

import lpips
import torch
import torchvision
from safetensors.torch import load_file, save_file


def tensors(model):
    """What a file holds of an `lpips.LPIPS`: its network and its weights of channels."""
    result = {}
    for name, value in model.state_dict().items():
        parts = name.split(".")
        if parts[0] == "net":  # net.slice2.3.weight: the number is torchvision's
            result[f"features.{parts[2]}.{parts[3]}"] = value.detach().clone().contiguous()
        elif parts[0] == "lins":  # lins.0.model.1.weight, [1, C, 1, 1]
            result[f"lins.{parts[1]}.weight"] = value.detach().reshape(-1).clone()
    return result


def backbone(network, path):
    """The state dict of torchvision's network for ImageNet."""
    if path is None:
        make, weights = {
            "alex": (torchvision.models.alexnet, torchvision.models.AlexNet_Weights.IMAGENET1K_V1),
            "vgg": (torchvision.models.vgg16, torchvision.models.VGG16_Weights.IMAGENET1K_V1),
        }[network]
        return make(weights=weights).state_dict()
    return load_file(path) if path.endswith(".safetensors") else torch.load(path, weights_only=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=["alex", "vgg"], required=True)
    parser.add_argument("--backbone", help="a file of torchvision's weights, instead of downloading them")
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    model = lpips.LPIPS(net=arguments.network, pnet_rand=True, verbose=False)
    given = backbone(arguments.network, arguments.backbone)
    result = tensors(model)
    for name, value in result.items():
        if name.startswith("features."):
            if name not in given or given[name].shape != value.shape:
                found = list(given[name].shape) if name in given else "none"
                raise SystemExit(f"{arguments.backbone}: {name}: expected {list(value.shape)}, found {found}")
            result[name] = given[name].float().contiguous()
    save_file(result, arguments.output, metadata={"network": arguments.network})
    print(f"{arguments.output}: {len(result)} tensors, {sum(v.numel() for v in result.values())} numbers")


if __name__ == "__main__":
    main()
