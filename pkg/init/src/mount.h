/* Mounts as runtime.json writes them: options in the manner of fstab(5). */
#ifndef MOBY_MOUNT_H
#define MOBY_MOUNT_H

#include <stdbool.h>
#include <stddef.h>

#include "json.h"

enum { MOUNT_DATA = 4096 }; /* the kernel takes no more than a page */

struct mount_options {
	unsigned long flags;       /* for the first mount(2) */
	unsigned long propagation; /* MS_SHARED and so on: the kernel wants a call of its own */
	char data[MOUNT_DATA];     /* what is no flag, commas between */
};

/* Add one option; false when the data has no more room. */
bool mount_option(struct mount_options *options, const char *option);

/* Mount one item of runtime.json's `mounts` on `destination`, which exists; -1 with errno. Directories named by
 * `upperdir=` and `workdir=` are made. */
int mount_item(const struct json *item, const char *destination);

/* How many mounts lie over each other at `path`, by the text of /proc/self/mountinfo. */
size_t mounts_at(const char *mountinfo, const char *path);

/* Unmount what lies at `path`, the last first, but for the first `kept`. */
void mounts_remove(const char *path, size_t kept);

/* Mount the volumes of /containers/volumes: an overlay where there is a `tmp` for the upper directory, else read-only. */
void volumes_mount(void);

#endif
