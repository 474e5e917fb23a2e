"""``minisam bench``: minisam beside the same model in other libraries, in one run, and the report that it writes.

    worker        a process of its own for each contender, which waits stopped until it is its turn
    contender     what a contender must do; ``contenders``: NumPy + Numba, ONNX Runtime; ``torch_contenders``: the rest
    workloads     what is measured: encoder, prompts, every object; and how cost grows
    measure       turns, medians, memory
    profile       where the time goes inside ours
    flops         the written count of arithmetic
    report        ratios, shares and the Markdown page; ``plots``: its plots
    device_speed  the torch reference alone on a device, and ``device_report``, its page

Nothing here is imported by the library, and torch, transformers and onnxruntime only in their contenders' processes.
"""
