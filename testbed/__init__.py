"""What the evidence is measured with besides the demo model: a model of many pictures a caption, its prompts and its judges."""
