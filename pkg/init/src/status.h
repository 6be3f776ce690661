/* /run/moby/status.json: for people and programs, and for the svc that takes over when one dies. */
#ifndef MOBY_STATUS_H
#define MOBY_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#include "container.h"

/* The JSON text, for the caller to free; NULL when out of memory. */
char *status_text(const struct containers *all, const char *phase, size_t *size);

/* Write it beside, then rename. */
void status_write(const struct containers *all, const char *phase);

/* Take over what status.json says of containers that exist. False when there is no usable file: a fresh boot. */
bool status_read(struct containers *all);
bool status_apply(struct containers *all, const char *text, size_t size);

/* Start time of a process, /proc/PID/stat field 22 in clock ticks; -1 when there is no such process. */
long long process_ticks(pid_t pid);

#endif
