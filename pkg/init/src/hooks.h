/* Programs that images place in /etc/init.d and /etc/shutdown.d. */
#ifndef MOBY_HOOKS_H
#define MOBY_HOOKS_H

#include <stdbool.h>

/* Run each executable file of `directory` in name order, one after the other; one that takes longer than 30 s goes on
 * in the background. SIGCHLD must be blocked. */
void hooks_run(const char *directory);

/* Is this file one of those that init and svc stand in for? `target` is what it links to, or NULL. */
bool hooks_replaced(const char *name, const char *target);

#endif
