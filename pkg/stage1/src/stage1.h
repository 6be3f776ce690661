/* The small initrd's only program: see README.md. */
#ifndef STAGE1_H
#define STAGE1_H

#include <stddef.h>

/* Says one line on the console and ends process 1, which panics the kernel. */
_Noreturn void fail(const char *what, const char *name);

/* The value of KEY=value on the kernel's command line in OUT (SIZE bytes); 0 when the word is not there. */
int option(const char *cmdline, const char *key, char *out, size_t size);

/* Waits up to WAIT_MS for the block device that HASH tells of; its path goes to OUT. 0 when none came. */
int find_root(const char *hash, int wait_ms, char *out, size_t size);

/* Makes a device-mapper device that checks DEVICE by SPEC (see README.md); its path goes to OUT. */
void open_verity(const char *device, const char *spec, char *out, size_t size);

#endif
