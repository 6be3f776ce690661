/* Bringing one container up: mounts, the runtime's commands, namespaces. Works in a child of svc, since all of it can
 * block; the container itself becomes svc's child, svc being the subreaper. */
#ifndef MOBY_STARTER_H
#define MOBY_STARTER_H

#include <stdbool.h>
#include <sys/types.h>

#include "container.h"

/* Exit status of a starter that failed before the runtime was called and has undone its mounts. */
enum { STARTER_NOT_PREPARED = 120 };

/* The starter's pid, -1 with errno. Its messages go to the container's log. */
pid_t starter_start(const struct container *container);

/* The pid that the runtime wrote for the container, 0 when there is none. */
pid_t starter_pid(const struct container *container);

/* In another child: end all that is left of the container and release its mounts. -1 with errno. */
pid_t starter_remove(const struct container *container);

/* Take the mounts inside the container's own directory away. */
void starter_unmount(const struct container *container);

#endif
