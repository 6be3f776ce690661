/* The end of the machine, once svc has stopped the containers. */
#ifndef MOBY_SHUTDOWN_H
#define MOBY_SHUTDOWN_H

/* End every process, write everything out, unmount, and tell the kernel. `how` is one of RB_POWER_OFF, RB_AUTOBOOT,
 * RB_HALT_SYSTEM (sys/reboot.h). SIGCHLD must be blocked. Does not come back. */
_Noreturn void shutdown_machine(int how);

#endif
