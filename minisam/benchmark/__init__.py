"""``minisam bench``: minisam beside the same model in other libraries, in one run, and the report that it writes.

    worker        a process of its own for each contender, which waits stopped until it is its turn
    contenders    the same work in NumPy + Numba and ONNX Runtime; ``torch_contenders``: torch, transformers
    workloads     what is measured: encoder, prompts, every object; and how cost grows
    measure       turns, medians, memory
    profile       where the time goes inside ours
    flops         the written count of arithmetic
    environment   what the figures depend on
    goals         ratios and shares, beside what was asked for
    report        the Markdown page            plots    its pictures

Nothing here is imported by the library, and torch, transformers and onnxruntime only in their contenders' processes.
"""
