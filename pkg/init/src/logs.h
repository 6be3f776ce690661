/* What containers print. They hold the files open themselves (O_APPEND), so that neither the death of svc nor a full
 * pipe can stop them; a file that grows too long is copied and cut. */
#ifndef MOBY_LOGS_H
#define MOBY_LOGS_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "container.h"

enum { LOG_MAX = 1 << 20, LOG_LINES_FAILED = 10, LOG_LINES_BOOT = 100 };
enum stream { LOG_OUT, LOG_ERR };

bool logs_path(const struct container *container, enum stream stream, char path[PATH_MAX]);

/* Open for appending, made when missing; -1 with errno. */
int logs_open(const char *path);

/* When longer than `limit` bytes: keep the last `limit` in PATH.1 and cut PATH to nothing. */
void logs_rotate(const char *path, off_t limit);

/* Length in bytes; 0 when there is none. */
off_t logs_length(const char *path);

/* Print the last `lines` lines behind offset `start` on standard error, each after `name: `, cleaned of control
 * characters. */
void logs_show(const char *path, off_t start, const char *name, int lines);

#endif
