"""PromptMR: an unrolled network with prompts that sees a few adjacent frames (B. Xin et al., STACOM 2023)."""
