"""Networks that restore magnitude images: U-Net and ViT."""
