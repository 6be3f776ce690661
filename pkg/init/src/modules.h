/* Kernel modules, in the order that the builder worked out. */
#ifndef MOBY_MODULES_H
#define MOBY_MODULES_H

#include <stdbool.h>
#include <stddef.h>

/* Load what /lib/modules/RELEASE/modules.moby lists: one path per line, relative to that directory, dependencies first.
 * A module that fails is a line on the console and the next one follows. Gives the number loaded, -1 without a list. */
int modules_load(const char *cmdline);

/* Load the module called `name` and what it needs, as modules.dep says; nothing when it is not there. */
void modules_need(const char *name);

/* The line of modules.dep (`dep`) for module `name`: PATH and a colon, then what it needs, in the order opposite to that
 * of loading. NULL when there is none. */
const char *modules_line(const char *dep, const char *name);

/* The parameters for module file `path` that the kernel command line sets as `NAME.parameter=value` (`-` and `_` are
 * the same in NAME), with spaces between; false when `room` is too small. */
bool modules_parameters(const char *path, const char *cmdline, char *out, size_t room);

#endif
