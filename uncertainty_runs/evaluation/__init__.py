"""The paper's protocols on any workflow: ``python -m uncertainty evaluate``.

A protocol queues batches on a running ComfyUI, keeps images and scores in a folder, can be stopped and started again, and writes
tables, figures and a page.
"""
