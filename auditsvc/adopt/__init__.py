"""Changes over from auditd, and back: `auditsvc adopt`.

    plan     what auditd's settings, rules and plugins become, or that there is no counterpart
    change   auditd -> auditsvc: settings, old logs, socket
    back     auditsvc -> auditd

What must hold: no record of the kernel is lost between the two daemons (`bridge`); a change that
was interrupted is finished by running it again; what is said was found, not assumed.
"""
