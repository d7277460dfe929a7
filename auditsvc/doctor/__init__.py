"""The doctor: what is wrong with audit on this machine, what it means, and how to fix it.

    machine (files) --+
    kernel (answers) -+--> one small check for each subject --> findings
    settings ---------+

The checks only read; what cannot be read becomes a finding that says so. Nothing is changed.
"""

from auditsvc.doctor.examine import KernelAnswers, ask_kernel, examine
from auditsvc.doctor.finding import DoctorFinding, Level
from auditsvc.doctor.machine import Machine

__all__ = ["DoctorFinding", "KernelAnswers", "Level", "Machine", "ask_kernel", "examine"]
