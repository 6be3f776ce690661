/* svc as a command. */
#ifndef MOBY_CLIENT_H
#define MOBY_CLIENT_H

#include "control.h"

/* Each prints its result and gives the exit status. */
int client_request(enum verb verb, const char *name);
int client_status(bool json);
int client_logs(const char *name);

/* poweroff, reboot, halt: by the socket, else by a signal to process 1; `force` = at once, nothing is stopped. */
int client_machine(enum verb verb, bool force);

#endif
