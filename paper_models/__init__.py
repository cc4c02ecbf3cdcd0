"""The networks of the paper's tables as ComfyUI models: DDPM, ADM and U-ViT, loaded from the files their authors published."""
