"""The networks of the paper's tables as ComfyUI models: DDPM, ADM and U-ViT, out of the files their authors published."""
