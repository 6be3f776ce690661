/* What makes the machine itself: name, limits, loopback, resolv.conf, greeting. */
#ifndef MOBY_HOST_H
#define MOBY_HOST_H

#include <limits.h>
#include <stdbool.h>

void host_set_up(void);

/* Print /etc/issue on each console that the kernel command line names. */
void host_greet(const char *cmdline);

/* The device of the `number`th `console=` of the command line, as /dev/NAME; false behind the last. */
bool host_console(const char *cmdline, int number, char path[PATH_MAX]);

#endif
