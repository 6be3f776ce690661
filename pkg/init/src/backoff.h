/* How long to wait before a restart: not at all the first time, then 0.1 s, doubling up to 10 s; a container that
 * lived 10 s begins anew. */
#ifndef MOBY_BACKOFF_H
#define MOBY_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 10000, BACKOFF_RESET_MS = 10000 };

struct backoff {
	int64_t delay_ms; /* given last; 0 = none yet, or the first */
	unsigned failures; /* in a row */
};

/* The delay after a life of `lived_ms`. */
int64_t backoff_next(struct backoff *backoff, int64_t lived_ms);

#endif
