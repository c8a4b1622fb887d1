"""What one submission may use."""

from dataclasses import dataclass

from course_utils.grading.sandbox import wire


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        answer: Seconds to answer one request.
        wall: Seconds for the whole session.
        cpu: Seconds of processor time for one process.
        memory: Bytes that one process may map, beyond what it starts with.
        together: Bytes that all its processes may hold in memory.
        tmp: Bytes in /tmp.
        file: Bytes in one file.
        processes: Processes and threads at once.
        files: Open files.
        output: Bytes of one reply.
    """

    answer: float = 10.0
    wall: float = 120.0
    cpu: int = 60
    memory: int = 2 * 2**30
    together: int = 2 * 2**30
    tmp: int = 64 * 2**20
    file: int = 16 * 2**20
    processes: int = 32
    files: int = 64
    output: int = wire.LARGEST

    def inside(self, user: int) -> dict:
        """Return what the sandbox needs to know."""
        process = {
            "memory": self.memory,
            "cpu": self.cpu,
            "file": self.file,
            "processes": self.processes,
            "files": self.files,
        }
        return {
            "wall": self.wall,
            "together": self.together,
            "tmp": self.tmp,
            "user": user,
            "process": process,
        }
