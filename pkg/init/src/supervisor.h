/* svc as supervisor: one loop over signals, containers and the control socket. */
#ifndef MOBY_SUPERVISOR_H
#define MOBY_SUPERVISOR_H

/* Run until SIGTERM, and then until everything is stopped; the exit status. */
int supervise(void);

#endif
