"""The longer commands of ``minisam``, a file each: ``add(parsers)`` says its options, ``run(options)`` does the work.

Nothing heavy is imported before ``run``, so that ``minisam --help`` is quick.
"""
