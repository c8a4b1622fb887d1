"""Run a student's code where it can harm nothing, and reach it over JSON.

    launch.py      trusted: starts the sandbox
    session.py     trusted: sends cells and calls, bounds replies
    limits.py      trusted: what a submission may use
    wire.py        both sides: plain values, arrays and tensors as JSON, nothing else
    zygote.py      inside: imports numpy or torch once and forks one child a submission
    namespaces.py  inside: a child's own pid, mount, network and tmp, its limits
    seccomp.py     inside: the system calls that a child may not make
    student.py     inside: the student's cells and functions

What is inside runs without the rest of the library, so these files import each other
relatively, and numpy and torch only. The checks and their expected values stay
outside: a student's process sees the inputs of calls and can answer with values, true
or invented, which is all that its functions could do anyway.
"""
