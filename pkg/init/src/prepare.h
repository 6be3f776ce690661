/* What runtime.json asks for around the start of a container. */
#ifndef MOBY_PREPARE_H
#define MOBY_PREPARE_H

#include <stdbool.h>
#include <sys/types.h>

#include "container.h"
#include "json.h"

/* Before the container is created: mounts, directories, cgroups, in this order. After a failure mounts made here outside
 * the container's directory are undone. `json` may be NULL. False with a message. */
bool prepare_file_system(const struct container *container, const struct json *json);

/* Is there anything to do once the process exists? */
bool prepare_has_process_part(const struct json *json);

/* When process `pid` is created and not started: network interfaces, and its namespaces bound to files. */
bool prepare_process(const struct container *container, const struct json *json, pid_t pid);

#endif
