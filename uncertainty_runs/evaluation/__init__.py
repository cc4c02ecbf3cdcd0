"""The command ``evaluate``: the paper's protocols on any workflow.

A protocol generates images with a ComfyUI, keeps them with their scores in a folder, can be stopped and resumed, and writes
tables and figures.
"""
