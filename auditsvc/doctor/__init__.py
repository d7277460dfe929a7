"""The doctor: what is wrong with audit on this machine, what it means, and what mends it.

    machine (files) --+
    kernel (answers) -+--> one small check a matter --> findings
    settings ---------+

The checks are pure but for what they read; what cannot be seen becomes a finding that
says so. Nothing is changed.
"""

from auditsvc.doctor.examine import Kernel, ask_kernel, examine
from auditsvc.doctor.finding import Finding, Level
from auditsvc.doctor.machine import Machine

__all__ = ["Finding", "Kernel", "Level", "Machine", "ask_kernel", "examine"]
