/* The life of one container: start, end, restart, stop. Nothing here waits. */
#ifndef MOBY_LIFE_H
#define MOBY_LIFE_H

#include <stdbool.h>

#include "container.h"

void life_start(struct container *container);

/* Its starter has ended with this wait status. */
void life_starter_ended(struct container *container, int status);

/* The container has ended; `status` counts for KNOWN_ENDING. */
void life_ended(struct container *container, enum ending ending, int status);

/* Ask it to end; after 5 s it is killed. It stays ended unless container->again. */
void life_stop(struct container *container);

/* What is due at `now`; gives the time of the next thing, -1 for none. */
int64_t life_tick(struct container *container, int64_t now);

/* Take over from an earlier svc, the container being as status.json says. */
void life_adopt(struct container *container);

/* Would a SIGTERM do anything? The first process of a pid namespace is safe from signals that it does not handle.
 * `status` is the text of /proc/PID/status. */
bool life_heeds_term(const char *status);

#endif
